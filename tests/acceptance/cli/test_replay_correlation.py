"""`microlith replay correlation`: what today's code would do, compared with what was recorded, and nothing recorded touched."""

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.savings import write_savings
from tests.acceptance.cli.shop import Tool, start_run_of, stop

SECRETS = ("--pin", "98765", "--owner", "Zanzibar", "--hint", "hush")
CALLS = (
    ("OpenCommand", "--account", "a1", *SECRETS, "--wait", "RemindedEvent"),
    ("DepositCommand", "--account", "a1", "--amount", "5", "--wait", "NotedEvent"),
    ("DepositCommand", "--account", "a1", "--amount", "7", "--wait", "NotedEvent"),
    ("BalanceQuery", "--account", "a1"),
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Tool:
    """A project with four correlations; nothing runs."""
    found = Tool(write_savings(tmp_path_factory.mktemp("correlation") / "shop"))
    for call in CALLS:
        assert found("dispatch", *call).code == 0
    return found


@pytest.fixture
def changed(filled: Tool) -> Iterator[Path]:
    """The module of the handlers; it is as it was, afterwards."""
    file = filled.folder / "shop/savings/handlers/all.py"
    text = file.read_text("utf-8")
    yield file
    file.write_text(text, "utf-8")


def kept(folder: Path) -> dict[str, bytes]:
    """What is recorded: log, keys, trace log, read models; and what an external projection keeps."""
    files = [*(folder / ".microlith").glob("*.db"), *(folder / ".microlith").glob("trace*"), folder / "outside.txt"]
    assert len(files) == 4
    return {file.name: file.read_bytes() for file in files}


def test_same_code_does_the_same_and_touches_nothing_that_is_recorded(filled):
    before = kept(filled.folder)

    ended = [filled("replay", "correlation", f"@-{back}", "--yes", "--json") for back in (1, 2, 3)]
    opened = filled("replay", "correlation", "@-4", "--yes", *SECRETS)

    assert [(one.code, one.out) for one in ended] == [(0, "")] * 3, [one.out + one.err for one in ended]
    assert (opened.code, "no difference" in opened.out) == (0, True), opened.out + opened.err
    assert "scheduled, and not waited for: RemindCommand" in opened.err
    assert "left out, since their rows are kept elsewhere: savings.outside" in opened.err
    assert kept(filled.folder) == before


def test_bug_planted_in_a_handler_afterwards_is_found_and_the_field_named(filled, changed, tmp_path):
    changed.write_text(
        changed.read_text("utf-8").replace("balance=row.balance if", "balance=row.balance + 1 if"), "utf-8"
    )

    shown = filled("replay", "correlation", "@-2", "--yes", "--json", "--export", str(tmp_path / "new.jsonl"))

    (line,) = shown.lines
    assert (shown.code, line["difference"], line["message"]) == (1, "changed", "NotedEvent")
    assert line["changes"] == [{"what": "field", "name": "balance", "before": 12, "after": 13}]
    assert filled("trace", str(tmp_path / "new.jsonl")).code == 0


def test_handler_that_fails_now_is_found(filled, changed):
    changed.write_text(changed.read_text("utf-8").replace("balance=row.balance if", "balance=row.balanced if"), "utf-8")

    shown = filled("replay", "correlation", "@-2", "--yes")

    assert shown.code == 1
    assert "AttributeError" in shown.out
    assert "NotedEvent  missing" in shown.out


def test_handlers_do_what_they_do_outside(filled):
    effects = (filled.folder / "effects.txt").read_text().splitlines()

    assert filled("replay", "correlation", "@-2", "--yes").code == 0

    assert (filled.folder / "effects.txt").read_text().splitlines() == [*effects, "a1 7"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("@-2",), 2, "there is no terminal to ask on"),
        (("@-4", "--yes"), 2, "owner of the recorded OpenCommand is secret"),
        (("@-4", "--yes", *SECRETS[:4]), 2, "Give it: --hint VALUE"),
        (("@-9", "--yes"), 1, "none of them"),
        (("@-2", "--yes", "--amuont", "1"), 2, "Did you mean 'amount'?"),
    ],
)
def test_what_cannot_be_run_again_is_refused_before_any_handler(filled, arguments, code, told):
    effects = (filled.folder / "effects.txt").read_text()

    ended = filled("replay", "correlation", *arguments)

    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert (filled.folder / "effects.txt").read_text() == effects


def test_store_in_memory_is_refused(filled):
    ended = filled("replay", "correlation", "@-2", "--yes", env={"MICROLITH_STORE_URL": "memory:"})

    assert ended.code == 1
    assert "store is in memory" in ended.err


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_terminal_is_asked_once(filled, answer, code):
    effects = (filled.folder / "effects.txt").read_text().splitlines()
    ours, theirs = pty.openpty()
    process = filled.start("replay", "correlation", "@-2", stdin=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())

    process.communicate(timeout=60)
    os.close(ours)

    assert process.returncode == code
    assert len((filled.folder / "effects.txt").read_text().splitlines()) - len(effects) == 1 - code


def test_application_goes_on_meanwhile(filled):
    process = start_run_of(filled.folder, "BalanceQuery", "--account", "a1")
    try:
        head = filled("events", "list", "--json").lines[-1]["position"]
        deposit = next(one for one in filled("trace", "--json").lines if one["type"] == "DepositCommand")

        assert filled("replay", "correlation", deposit["correlationid"], "--yes").code == 0

        assert filled("events", "list", "--json").lines[-1]["position"] == head
    finally:
        stop(process)


def test_same_code_does_the_same_for_every_correlation_of_the_seeds_application(tmp_path):
    assert Tool(tmp_path)("new", "app", "shop").code == 0
    tool = Tool(tmp_path / "shop")
    user = ("--email", "a@b.c", "--password", "correct horse")
    calls: tuple[tuple[str, ...], ...] = (
        ("RegisterCommand", *user, "--role", "admin", "--quiet-for", "50ms"),
        ("LoginCommand", *user, "--sid", "s1", "--quiet-for", "50ms"),
        ("LoginCommand", "--email", "a@b.c", "--password", "wrong", "--sid", "s2", "--quiet-for", "50ms"),
        ("CurrentUserRequest", "--id", "1"),
        ("LogoutCommand", "--sid", "s1", "--quiet-for", "50ms"),
    )
    for call in calls:
        tool("dispatch", *call)
    traces = tool("trace", "--json").lines
    assert len(traces) == len(calls)

    for trace, call in zip(reversed(traces), calls, strict=True):
        secret = ("--password", call[call.index("--password") + 1]) if "--password" in call else ()
        ended = tool("replay", "correlation", trace["correlationid"], "--yes", *secret, "--json")
        assert (ended.code, ended.out) == (0, ""), (json.dumps(trace), ended.out, ended.err)
