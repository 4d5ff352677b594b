"""A plan says what would happen and does nothing."""

import os
import stat

import pytest

from microlith_cli.scaffolding import kinds
from microlith_cli.scaffolding.errors import (
    ConflictError,
    NothingToUndoError,
    OutsideProjectError,
    StillUsedError,
)
from microlith_cli.scaffolding.manifest import read_manifest
from microlith_cli.scaffolding.planning import Wanted, application_root, plan_addition, plan_undo
from tests.unit.scaffolding.projects import actions, add, below

PAY = "shop/billing/commands/pay.py"


def pay(project, *fields):
    return kinds.message(project, "command", "billing.Pay", fields)


def plan(project, wanted):
    return plan_addition(project.root, wanted, read_manifest(project.root))


def touched(folder):
    """When anything was last added to or taken from each folder, nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_planning_writes_nothing(project, tmp_path):
    before = below(tmp_path), touched(tmp_path)

    planned = plan(project, pay(project))

    assert actions(planned)[PAY] == "create"
    assert (below(tmp_path), touched(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_planning_works_in_a_folder_that_cannot_be_written(project):
    wanted = pay(project)
    for folder in (project.root, *(path for path in project.root.rglob("*") if path.is_dir())):
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)

    try:
        assert actions(plan(project, wanted))[PAY] == "create"
    finally:
        for folder in (project.root, *(path for path in project.root.rglob("*") if path.is_dir())):
            folder.chmod(stat.S_IRWXU)


def test_second_time_is_unchanged(project):
    add(project.root, pay(project, "number:int"))

    assert set(actions(plan(project, pay(project, "number:int"))).values()) == {"unchanged"}


def test_file_changed_by_hand_is_kept(project):
    add(project.root, pay(project))
    (project.root / PAY).write_text("# mine\n", "utf-8")

    planned = plan(project, pay(project))

    (change,) = planned.of("kept")
    assert (change.path, change.why) == (PAY, "changed by hand")
    assert "-# mine" in list(change.diff())


def test_file_of_someone_else_is_a_conflict(project):
    (project.root / PAY).write_text("# mine\n", "utf-8")

    planned = plan(project, pay(project))

    assert [change.path for change in planned.of("conflict")] == [PAY]
    with pytest.raises(ConflictError, match=PAY):
        planned.refuse_conflicts()


def test_generated_file_is_not_overwritten_by_another_version_of_itself(project):
    add(project.root, pay(project))

    assert [change.path for change in plan(project, pay(project, "number:int")).of("conflict")] == [PAY]


def test_test_and_init_may_be_there_in_any_form(project):
    wanted = pay(project)
    (project.root / "tests/billing").mkdir()
    (project.root / "tests/billing/test_pay.py").write_text("# mine\n", "utf-8")

    (change,) = plan(project, wanted).of("kept")

    assert (change.path, change.why) == ("tests/billing/test_pay.py", "there already")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_a_conflict_and_is_not_read(project, make):
    make(project.root / PAY)

    assert actions(plan(project, pay(project)))[PAY] == "conflict"


def test_file_where_a_folder_should_be_is_a_conflict(project):
    (project.root / "tests/billing").write_text("", "utf-8")

    assert actions(plan(project, pay(project)))["tests/billing/test_pay.py"] == "conflict"


@pytest.mark.parametrize("link", ["shop/billing/commands", "tests/billing", "shop"])
def test_folder_that_leads_out_of_the_project_is_refused(project, tmp_path, link):
    wanted = pay(project)
    outside = tmp_path / "outside"
    if (project.root / link).exists():
        (project.root / link).rename(outside)
    (project.root / link).symlink_to(outside)

    with pytest.raises(OutsideProjectError):
        plan(project, wanted)


def test_links_in_a_circle_are_refused(project):
    wanted = pay(project)
    (project.root / "tests/billing").symlink_to("billing")

    with pytest.raises(OutsideProjectError):
        plan(project, wanted)


def test_link_in_place_of_a_file_is_a_conflict(project, tmp_path):
    (project.root / PAY).symlink_to(tmp_path / "elsewhere.py")

    assert actions(plan(project, pay(project)))[PAY] == "conflict"


def test_link_within_the_project_is_followed(project):
    (project.root / "shop/billing/commands").rename(project.root / "orders")
    (project.root / "shop/billing/commands").symlink_to(project.root / "orders")

    add(project.root, pay(project))

    assert (project.root / "orders/pay.py").is_file()


def test_application_is_not_made_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "shop").symlink_to(tmp_path / "outside")

    with pytest.raises(OutsideProjectError):
        application_root(tmp_path, "shop")


def test_undo_of_what_was_never_done_is_refused(project):
    with pytest.raises(NothingToUndoError, match=r"new command billing\.pay"):
        plan_undo(project.root, "command billing.pay", read_manifest(project.root))


def test_undo_of_what_is_still_used_is_refused(project):
    add(project.root, pay(project))

    for what in ("component billing", "app shop"):
        with pytest.raises(StillUsedError):
            plan_undo(project.root, what, read_manifest(project.root))


def test_undo_keeps_what_was_changed_by_hand(project):
    add(project.root, pay(project))
    (project.root / PAY).write_text("# mine\n", "utf-8")
    (project.root / "tests/billing/test_pay.py").unlink()

    planned = plan_undo(project.root, "command billing.pay", read_manifest(project.root))

    assert actions(planned) == {
        PAY: "kept",
        "shop/billing/handlers/pay.py": "remove",
        "tests/billing/test_pay.py": "gone",
    }


def test_diff_of_a_new_file_is_all_of_it(project):
    (change,) = plan(project, Wanted("x", {"a.txt": "one\ntwo\n"})).changes

    assert list(change.diff()) == ["--- /dev/null", "+++ b/a.txt", "@@ -0,0 +1,2 @@", "+one", "+two"]
