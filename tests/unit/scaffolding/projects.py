"""A project to scaffold into, and a look at everything below a folder."""

from pathlib import Path

import pytest

from microlith_cli.scaffolding import kinds
from microlith_cli.scaffolding.applying import apply
from microlith_cli.scaffolding.manifest import read_manifest
from microlith_cli.scaffolding.planning import Plan, Wanted, application_root, plan_addition, plan_undo
from microlith_cli.scaffolding.sources import Sources


def add(root: Path, wanted: Wanted) -> Plan:
    """Plan and apply; returns the plan."""
    plan = plan_addition(root, wanted, read_manifest(root))
    apply(plan)
    return plan


def undo(root: Path, what: str) -> Plan:
    """Plan and apply taking back; returns the plan."""
    plan = plan_undo(root, what, read_manifest(root))
    apply(plan)
    return plan


def make_project(folder: Path, name: str = "shop") -> Sources:
    """An application with one empty component, billing."""
    root = application_root(folder, name)
    add(root, kinds.app(name, bare=True))
    sources = Sources(root, name)
    add(root, kinds.component(sources, "billing"))
    return sources


def actions(plan: Plan) -> dict[str, str]:
    """Path to action."""
    return {change.path: change.action for change in plan.changes}


def below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: path to mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[path.relative_to(folder).as_posix()] = (status.st_mode, content)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Sources:
    return make_project(tmp_path)
