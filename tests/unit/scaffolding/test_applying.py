"""A plan is applied whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from microlith_cli.errors import UnsafeDirectoryError
from microlith_cli.scaffolding import applying, kinds
from microlith_cli.scaffolding.applying import apply
from microlith_cli.scaffolding.errors import ConflictError, NothingToUndoError, WriteFailedError
from microlith_cli.scaffolding.manifest import read_manifest
from microlith_cli.scaffolding.planning import Wanted, application_root, plan_addition, plan_undo
from tests.unit.scaffolding.projects import actions, add, below, make_project, undo

PAY = "shop/billing/commands/pay.py"


def pay(project):
    return kinds.message(project, "command", "billing.Pay", ["number:int"])


@contextmanager
def largest_file(limit: int):
    """Let the kernel refuse larger files, in bytes. It sends a signal too, which Python ignores."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def planned(project):
    return plan_addition(project.root, pay(project), read_manifest(project.root))


def test_application_appears_whole(tmp_path):
    root = application_root(tmp_path, "shop")

    add(root, kinds.app("shop", bare=False))

    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert {path: text.encode() for path, text in kinds.app("shop", bare=False).files.items()} == {
        path: content
        for path, (mode, content) in below(root).items()
        if stat.S_ISREG(mode) and not path.startswith(".microlith")
    }
    assert stat.S_IMODE((root / ".microlith").stat().st_mode) == 0o700


def test_files_have_the_modes_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        project = make_project(tmp_path)
        add(project.root, pay(project))
    finally:
        os.umask(before)

    assert stat.S_IMODE(project.root.stat().st_mode) == 0o750
    assert stat.S_IMODE((project.root / "pyproject.toml").stat().st_mode) == 0o640
    assert stat.S_IMODE((project.root / PAY).stat().st_mode) == 0o640


def test_second_time_writes_nothing(project):
    add(project.root, pay(project))
    before = below(project.root)

    add(project.root, pay(project))

    assert below(project.root) == before


def test_application_is_completed_where_files_are_missing(project):
    (project.root / "README.md").unlink()

    plan = add(project.root, kinds.app("shop", bare=True))

    assert [change.path for change in plan.of("create")] == ["README.md"]


def test_undo_leaves_everything_as_it_was(project):
    before = below(project.root)
    add(project.root, pay(project))

    undo(project.root, "command billing.pay")

    assert below(project.root) == before


def test_undo_of_everything_leaves_nothing(tmp_path):
    project = make_project(tmp_path)
    add(project.root, pay(project))

    for what in ("command billing.pay", "component billing", "app shop"):
        undo(project.root, what)

    assert list(tmp_path.iterdir()) == []


def test_undo_takes_back_one_step_only(project):
    add(project.root, pay(project))
    undo(project.root, "command billing.pay")

    with pytest.raises(NothingToUndoError):
        undo(project.root, "command billing.pay")


def test_undo_keeps_folders_with_files_of_others(project):
    add(project.root, pay(project))
    mine = project.root / "tests/billing/test_mine.py"
    mine.touch()

    undo(project.root, "command billing.pay")

    assert [path.name for path in mine.parent.iterdir()] == ["test_mine.py"]


def test_conflict_writes_nothing_at_all(project):
    (project.root / PAY).write_text("# mine\n", "utf-8")
    before = below(project.root)

    with pytest.raises(ConflictError):
        add(project.root, pay(project))

    assert below(project.root) == before


def test_file_that_appears_after_the_plan_is_not_overwritten(project):
    plan = planned(project)
    (project.root / "tests/billing").mkdir()
    (project.root / "tests/billing/test_pay.py").write_text("# mine\n", "utf-8")
    before = below(project.root)

    with pytest.raises(ConflictError, match="test_pay"):
        apply(plan)

    assert below(project.root) == before


def test_file_that_changes_after_the_plan_is_not_removed(project):
    add(project.root, pay(project))
    plan = plan_undo(project.root, "command billing.pay", read_manifest(project.root))
    (project.root / "tests/billing/test_pay.py").write_text("# mine\n", "utf-8")
    before = below(project.root)

    with pytest.raises(ConflictError):
        apply(plan)

    assert below(project.root) == before


@pytest.mark.parametrize("limit", [60, 250, 400])
def test_disk_that_refuses_a_file_leaves_everything_as_it_was(project, limit):
    before = below(project.root)

    with largest_file(limit), pytest.raises(WriteFailedError, match="File too large"):
        apply(planned(project))

    assert below(project.root) == before


@pytest.mark.parametrize("limit", [60, 900])
def test_application_that_the_disk_refuses_leaves_nothing(tmp_path, limit):
    root = application_root(tmp_path, "shop")

    with largest_file(limit), pytest.raises(WriteFailedError):
        add(root, kinds.app("shop", bare=True))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [1, 2, 3])
def test_file_that_cannot_be_placed_takes_the_others_back(project, monkeypatch, at):
    plan = planned(project)
    before = below(project.root)
    original, seen = applying._link, []

    def fail(source, target, path):
        seen.append(path)
        if len(seen) == at:
            raise OSError(5, "Input/output error", str(target))
        original(source, target, path)

    monkeypatch.setattr(applying, "_link", fail)
    with pytest.raises(WriteFailedError, match="Input/output error"):
        apply(plan)

    assert below(project.root) == before


def test_record_that_cannot_be_replaced_takes_everything_back(project, monkeypatch):
    add(project.root, pay(project))
    plan = plan_undo(project.root, "command billing.pay", read_manifest(project.root))
    before = below(project.root)

    def fail(self, target):
        raise OSError(5, "Input/output error", str(self))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(WriteFailedError):
        apply(plan)

    assert below(project.root) == before


def test_file_system_without_links_is_written_too(project, monkeypatch):
    def refuse(self, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    add(project.root, pay(project))

    assert set(actions(planned(project)).values()) == {"unchanged"}


def test_interruption_while_placing_waits_until_all_is_placed(project, monkeypatch):
    plan = planned(project)
    original = Path.hardlink_to

    def interrupted(self, target):
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # the tool has one thread; a test run may have more
        return original(self, target)

    monkeypatch.setattr(Path, "hardlink_to", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply(plan)

    assert set(actions(planned(project)).values()) == {"unchanged"}


def test_interruption_while_staging_leaves_everything_as_it_was(project, monkeypatch):
    plan = planned(project)
    before = below(project.root)

    def interrupted(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply(plan)

    assert below(project.root) == before


def test_what_a_killed_run_left_is_cleared_away(project):
    left = project.root / ".microlith/new-abc"
    left.mkdir()
    (left / "half.py").touch()

    add(project.root, pay(project))

    assert not left.exists()


def test_state_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "shop/.microlith").symlink_to(tmp_path / "outside")

    with pytest.raises(UnsafeDirectoryError):
        add(tmp_path / "shop", Wanted("x", {"a.txt": "one\n"}))

    assert not (tmp_path / "shop/a.txt").exists()
    assert list((tmp_path / "outside").iterdir()) == []


def test_runs_at_the_same_time_all_end_up_recorded(project):
    code = (
        "import sys; from pathlib import Path;"
        "from tests.unit.scaffolding.projects import add; from microlith_cli.scaffolding.planning import Wanted;"
        "add(Path(sys.argv[1]), Wanted(sys.argv[2], {sys.argv[2] + '.txt': 'x'}))"
    )
    names = [f"n{number}" for number in range(4)]
    root = Path(__file__).parents[3]

    running = [subprocess.Popen([sys.executable, "-c", code, project.root, name], cwd=root) for name in names]

    assert [each.wait(timeout=30) for each in running] == [0] * len(names)
    recorded = {step.what for step in read_manifest(project.root).steps}
    assert set(names) <= recorded
