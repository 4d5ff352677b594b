"""What is scaffolded is sound: it lints, types, and passes its own tests, whatever is added to it."""

import subprocess
import sys
from pathlib import Path

import pytest

from microlith_cli.scaffolding import kinds, stateful
from tests.unit.scaffolding.projects import add

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FIELDS = [
    'a:str=it\'s "quoted"',
    "b:int?",
    "c:float=1.5",
    "d:bool=true",
    "e:datetime",
    "f:date=2026-01-02",
    "g:uuid",
    "h:decimal=9.90",
    "i:secret",
    "j:email",
    "k:list[str]=[]",
    "l:list[list[datetime?]]",
    "m:datetime=2026-01-02T03:04:05+01:00",
]
LONG = "long_name_" * 6


def check(root: Path, *command: str) -> None:
    """Run one of the project's own checks; its output is the message when it refuses."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"


def check_all(root: Path, cache: Path) -> None:
    check(root, "ruff", "check", "--no-cache")
    check(root, "ruff", "format", "--check", "--diff", "--no-cache")
    check(root, "mypy", "--cache-dir", str(cache))
    check(root, "pytest", "-q", "-p", "no:cacheprovider", "--timeout=60")


def add_one_of_every_kind(project, component: str, prefix: str) -> None:
    """A component with one of everything; `prefix` makes its names long."""
    row = prefix[: (50 - len(component)) // 2].strip("_")
    for wanted in (
        lambda: kinds.component(project, component),
        lambda: kinds.message(project, "command", f"{component}.{prefix[:50]}go", FIELDS),
        lambda: kinds.message(project, "command", f"{component}.{prefix[:50]}rest", []),
        lambda: kinds.message(project, "command", f"{component}.TestThis", ["number:int"]),
        lambda: kinds.message(project, "event", f"{component}.{prefix[:50]}gone", FIELDS),
        lambda: kinds.message(project, "event", f"{component}.GoErrorRaised", ["why:str"]),
        lambda: kinds.message(project, "query", f"{component}.{prefix[:50]}where", FIELDS, FIELDS),
        lambda: kinds.message(project, "query", f"{component}.{prefix[:50]}when", []),
        lambda: kinds.handler(project, f"{component}.{prefix[:50]}gone"),
        lambda: kinds.handler(project, f"{component}.UserRegistered"),
        lambda: kinds.projection(project, f"{component}.{row}p", FIELDS, [f"{prefix[:50]}gone"]),
        lambda: kinds.projection(project, f"{component}.{row}q", ["id:int"]),
        lambda: stateful.aggregate(project, f"{component}.{prefix[:30]}account", FIELDS),
        lambda: stateful.aggregate(project, f"{component}.{prefix[:30]}bare", []),
        lambda: stateful.process(project, f"{component}.{prefix[:30]}flow", FIELDS, [f"{prefix[:50]}gone"], "j"),
        lambda: stateful.process(
            project, f"{component}.{prefix[:30]}course", ["n:int"], [f"{prefix[:50]}gone", "UserRegistered"]
        ),
        lambda: stateful.process(project, f"{component}.{prefix[:30]}lonely", []),
    ):
        add(project.root, wanted())


@pytest.fixture(scope="module")
def types_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all runs of mypy: most of its work is the libraries."""
    return tmp_path_factory.mktemp("types")


@pytest.mark.parametrize("name", ["shop", "a", LONG])
def test_scaffolded_project_passes_its_own_checks_with_one_of_every_kind(tmp_path, types_cache, name):
    from microlith_cli.scaffolding.sources import Sources

    root = tmp_path / name[:60].strip("_")
    project = Sources(root, root.name)
    add(root, kinds.app(root.name, bare=False))

    add_one_of_every_kind(project, "billing", "")
    add_one_of_every_kind(project, "x_" * 10 + "y", LONG)

    check_all(root, types_cache)


def test_bare_project_passes_its_own_checks(tmp_path, types_cache):
    root = tmp_path / "shop"

    add(root, kinds.app("shop", bare=True))

    check_all(root, types_cache)
