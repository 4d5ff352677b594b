"""`microlith new`, as it is typed: what it prints, writes and returns."""

import json
import os
import pty
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith_cli.console import plain
from microlith_cli.main import run
from tests.meta.tree import ROOT

ADDED = [
    "shop/billing/commands/pay.py",
    "shop/billing/handlers/pay.py",
    "tests/billing/test_pay.py",
]


@pytest.fixture(autouse=True)
def settings_of_this_process():
    yield
    plain.settings = plain.Settings()


@pytest.fixture
def shop(tmp_path, monkeypatch, capsys):
    """The root of a project with one component, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run(["new", "app", "shop", "--bare"]) == 0
    monkeypatch.chdir(tmp_path / "shop")
    assert run(["new", "component", "billing"]) == 0
    capsys.readouterr()
    return tmp_path / "shop"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".microlith" not in path.parts
    }


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_new_says_what_it_made_and_what_to_type_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code = run(["new", "app", "shop"])

    said = capsys.readouterr()
    assert code == 0
    assert "create     shop/auth/commands/login.py" in said.out.splitlines()
    assert "next  microlith run" in said.err.splitlines()


def test_new_works_in_the_folder_it_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir("/")

    assert run(["-C", str(tmp_path), "new", "app", "shop", "--bare"]) == 0

    assert (tmp_path / "shop/pyproject.toml").is_file()


def test_new_process_and_aggregate_are_found_by_the_application(shop, capsys):
    assert run(["new", "event", "billing.InvoiceSent", "number:int"]) == 0
    assert run(["new", "event", "billing.InvoicePaid", "number:int"]) == 0
    assert (
        run(["new", "process", "billing.Dunning", "--on", "InvoiceSent", "--on", "InvoicePaid", "--key", "number"]) == 0
    )
    assert run(["new", "aggregate", "billing.Account", "balance:int=0"]) == 0
    capsys.readouterr()

    def tool(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "microlith_cli", *arguments], cwd=shop, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    (process,) = objects(tool("list", "--processes", "--json"))
    assert (process["item"], process["name"], process["key"]) == ("process", "billing.Dunning", "number")
    assert (process["starts"], process["continues"]) == (["InvoiceSentEvent"], ["InvoicePaidEvent"])
    listed = tool("list", "--processes")
    assert "billing.Dunning  by number  InvoiceSentEvent, then InvoicePaidEvent" in listed
    assert "shop/billing/processes/dunning.py:" in listed
    assert "billing.Account.CreateAccountCommand" in tool("list", "--handlers")
    assert "AccountCreatedEvent" in tool(
        *("dispatch", "CreateAccountCommand", "--account-id", "7", "--wait", "AccountCreatedEvent", "--once", "--json")
    )
    assert "DunningStepped" in tool("describe", "InvoiceSentEvent")
    trace = (
        tool("trace", "@last") if tool("dispatch", "InvoiceSentEvent", "--number", "7", "--once") is not None else ""
    )
    assert "DunningStepped" in trace
    assert "no handler" not in trace


def test_new_twice_changes_nothing(shop, capsys):
    run(["new", "command", "billing.Pay", "number:int"])
    before = files(shop)
    capsys.readouterr()

    code = run(["new", "command", "billing.pay", "number:int"])

    said = capsys.readouterr()
    assert code == 0
    assert {line.split()[0] for line in said.out.splitlines()} == {"unchanged"}
    assert "nothing to do" in said.err
    assert files(shop) == before


def test_dry_run_shows_the_content_and_writes_nothing(shop, capsys):
    before = files(shop)

    code = run(["new", "event", "billing.Paid", "number:int", "--dry-run", "--diff"])

    said = capsys.readouterr()
    assert code == 0
    assert "+class PaidEvent(Event):" in said.out.splitlines()
    assert "nothing was written" in said.err
    assert files(shop) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_dry_run_works_where_nothing_can_be_written(shop):
    folders = [shop, *(path for path in shop.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)

    try:
        assert run(["new", "command", "billing.Pay", "--dry-run"]) == 0
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_undo_takes_back_what_was_added(shop, capsys):
    before = files(shop)
    run(["new", "command", "billing.Pay"])
    capsys.readouterr()

    code = run(["new", "command", "billing.Pay", "--undo"])

    said = capsys.readouterr()
    assert code == 0
    assert [line.split() for line in said.out.splitlines()] == [["remove", path] for path in ADDED]
    assert files(shop) == before


def test_undo_of_nothing_says_so(shop, capsys):
    assert run(["new", "event", "billing.Paid", "--undo"]) == 1

    assert "There is no `new event billing.paid` to undo here." in capsys.readouterr().err


def test_file_changed_by_hand_is_kept(shop, capsys):
    run(["new", "command", "billing.Pay"])
    (shop / ADDED[0]).write_text("# mine\n", "utf-8")
    capsys.readouterr()

    assert run(["new", "command", "billing.Pay"]) == 0

    assert f"kept       {ADDED[0]} (changed by hand)" in capsys.readouterr().out.splitlines()
    assert (shop / ADDED[0]).read_text("utf-8") == "# mine\n"


def test_conflict_names_the_file_and_shows_the_difference(shop, capsys):
    (shop / ADDED[0]).write_text("# mine\n", "utf-8")
    before = files(shop)

    code = run(["new", "command", "billing.Pay"])

    said = capsys.readouterr()
    assert code == 1
    assert f"conflict   {ADDED[0]}" in said.out.splitlines()
    assert "-# mine" in said.out.splitlines()
    assert f"{ADDED[0]} would have to be overwritten" in said.err
    assert files(shop) == before


def test_json_is_one_object_a_line(shop, capsys):
    code = run(["new", "command", "billing.Pay", "--json", "--diff"])

    *changes, plan = objects(capsys.readouterr().out)
    assert code == 0
    assert [change["path"] for change in changes if change["action"] == "create"] == ADDED
    assert all(change["item"] == "file" and "diff" in change for change in changes)
    assert (plan["item"], plan["what"], plan["applied"], plan["create"]) == ("plan", "command billing.pay", True, 3)


def test_json_of_an_error_has_the_same_exit_code(shop, capsys):
    (shop / ADDED[0]).write_text("# mine\n", "utf-8")

    code = run(["new", "command", "billing.Pay", "--json"])

    *_, last = objects(capsys.readouterr().out)
    assert (code, last["exit"], last["error"]["type"]) == (1, 1, "ConflictError")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["app"],
        ["command"],
        ["nothing", "x"],
        ["app", "../shop"],
        ["app", "json"],
        ["command", "pay"],
        ["command", "billing.Pay", "number"],
        ["command", "billing.Pay", "number:integer"],
        ["app", "x", "--barre"],
        ["handler", "billing.a-b"],
        ["handler", "billing.Nothing"],
    ],
)
def test_wrong_usage_writes_nothing(shop, capsys, arguments):
    before = files(shop)

    assert run(["new", *arguments]) == 2

    said = capsys.readouterr()
    assert said.err.startswith("error ")
    assert "Traceback" not in said.err
    assert files(shop) == before


@pytest.mark.parametrize(
    ("arguments", "answers", "made"),
    [
        (["new"], ["app", "shop"], "shop/shop/auth/__init__.py"),
        (["new", "app", "--bare"], ["shop"], "shop/shop/app.py"),
    ],
)
def test_new_asks_at_a_terminal(tmp_path, arguments, answers, made):
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "w", encoding="utf-8") as terminal:
        running = subprocess.Popen(
            [sys.executable, "-m", "microlith_cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.DEVNULL,
        )
        os.close(theirs)
        terminal.write("".join(f"{answer}\n" for answer in answers))
        terminal.flush()
        code = running.wait(timeout=30)

    assert code == 0
    assert (tmp_path / made).is_file()


def test_part_of_no_project_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["new", "component", "billing"]) == 2

    assert "microlith new app" in capsys.readouterr().err


NAMES = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["..", "/", ".", "~", "a", "shop", "é", "\u0455", "-", "_", "x" * 70]), max_size=6).map(
        "".join
    ),
    st.sampled_from(["link", "dangling", "file", "folder", "link/x", "json", "class", ".git", "a" * 300]),
)


@given(name=NAMES.filter(lambda name: not name.startswith("-")))
@settings(max_examples=300)
def test_no_name_of_an_application_writes_outside_or_over_anything(name):
    with tempfile.TemporaryDirectory() as made:
        top = Path(made)
        here = top / "here"
        for folder in (here / "folder", top / "outside"):
            folder.mkdir(parents=True)
        for path in (here / "file", here / "folder/README.md", top / "shop", top / "outside/pyproject.toml"):
            path.write_text("mine\n", "utf-8")
        (here / "link").symlink_to(top / "outside")
        (here / "dangling").symlink_to(top / "nowhere")
        before = files(top)

        code = run(["-C", str(here), "new", "app", name, "--bare"])
        os.chdir(ROOT)

        after = files(top)
        assert before.items() <= after.items()
        assert code in {0, 1, 2}
        assert after == before if code else all(path.startswith(f"here/{name}/") for path in set(after) - set(before))


def test_new_starts_fast(shop):
    """CPU, not wall time; the first run may have to compile."""
    command = [sys.executable, "-m", "microlith_cli", "-C", str(shop), "new", "command", "billing.Pay"]
    times = []
    for _ in range(4):
        before = os.times()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)

    assert min(times) < 0.6, times  # the budget is 0.3; a shared machine gets twice that
