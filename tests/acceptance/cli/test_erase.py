"""`microlith events erase`: with a running application and without one; afterwards no command tells of the erased."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, start_run, stop, write_shop

MESSAGES = '''

from typing import Annotated

from microlith import Personal


class JoinCommand(Command):
    """Become a member."""

    email: Annotated[str, Personal("user_id")]
    user_id: str


class JoinedEvent(Event):
    email: Annotated[str, Personal("user_id")]
    user_id: str
'''
HANDLERS = """

@auth.handles(JoinCommand)
async def join(command: JoinCommand) -> JoinedEvent:
    if command.email.startswith("bad"):
        raise ValueError(f"{command.email} is no address")
    return JoinedEvent(email=command.email, user_id=command.user_id)
"""
PROJECTION = """
from microlith import ReadModel, Table
from shop.auth import auth
from shop.auth.commands.all import JoinedEvent


class Member(ReadModel, key="user_id"):
    user_id: str
    email: str


members = auth.projection("members", Member)


@members.on(JoinedEvent)
def joined(event: JoinedEvent, rows: Table[Member]) -> None:
    rows.put(Member(user_id=event.user_id, email=event.email))
"""


def write_members(root: Path) -> Path:
    """Write the project, with personal fields."""
    folder = write_shop(root)
    for name, text in (("commands", MESSAGES), ("handlers", HANDLERS)):
        path = folder / f"shop/auth/{name}/all.py"
        path.write_text(path.read_text("utf-8") + text, "utf-8")
    (folder / "shop/auth/projections").mkdir()
    (folder / "shop/auth/projections/__init__.py").write_text("", "utf-8")
    (folder / "shop/auth/projections/members.py").write_text(PROJECTION, "utf-8")
    return folder


@pytest.fixture(params=["attached", "once"])
def tool(request, tmp_path) -> Iterator[Tool]:
    folder = write_members(tmp_path / "shop")
    process = start_run(folder) if request.param == "attached" else None
    yield Tool(folder)
    if process is not None:
        stop(process)


def holding(folder: Path, word: str) -> list[str]:
    return [
        one.name for one in (folder / ".microlith").iterdir() if one.is_file() and word.encode() in one.read_bytes()
    ]


def test_somebody_is_erased_and_no_command_tells_of_them_any_more(tool):
    for email, user in (("zanzibar@example.org", "ann"), ("other@example.org", "bob")):
        assert tool("dispatch", "JoinCommand", "--email", email, "--user-id", user, "--wait", "JoinedEvent").code == 0
    assert (
        tool("dispatch", "JoinCommand", "--email", "bad zanzibar", "--user-id", "ann", "--wait", "JoinedEvent").code
        == 1
    )
    held = holding(tool.folder, "zanzibar@example.org")
    counted = tool("events", "erase", "ann", "--dry-run", "--json")
    erased = tool("events", "erase", "ann", "--yes")
    shown = [
        tool(*words)
        for words in (
            ("trace", "--json"),
            ("dead-letters", "--json"),
            ("dead-letters", "show", "@last", "--json"),
            ("list", "--projections", "--json"),
            ("doctor", "--verify", "--json"),
            ("events", "list", "--json"),
            ("events", "list", "--reveal", "--json"),
            ("events", "export", "--reveal"),
            ("events", "verify", "--json"),
            ("replay", "projection", "--all", "--json"),
        )
    ]
    (letter,) = shown[1].lines

    assert held != []
    (found,) = counted.lines
    assert (found["events"], found["dead_letters"], found["plain"], found["done"]) == (1, 1, 0, False)
    assert (erased.code, erased.out.splitlines()) == (
        0,
        [
            "ann: 1 event, 0 commands, 1 dead letter, 0 scheduled messages  erased",
            "auth.members  built anew",
        ],
    )
    assert holding(tool.folder, "zanzibar") == []
    assert [one.out for one in shown if "zanzibar" in one.out] == []
    assert letter["error"] == "ValueError: *** is no address"
    assert shown[2].lines[0]["data"] == {"email": "[erased]", "user_id": "ann"}
    assert any(one["code"] == "ML014" and one["level"] == "ok" for one in shown[4].lines)
    assert [one.code for one in shown[5:9]] == [0] * 4
    assert "***" in shown[5].out
    assert holding(tool.folder, "other@example.org") != []


def test_unknown_subject_is_told(tool):
    plain, as_json = tool("events", "erase", "nobody", "--yes"), tool("events", "erase", "nobody", "--yes", "--json")

    assert (plain.code, plain.out) == (1, "")
    assert "No personal field is stored for 'nobody'" in plain.err
    assert as_json.code == 1
    assert json.loads(as_json.out)["error"]["type"] == "UnknownSubjectError"


def test_without_a_terminal_yes_must_be_said(tmp_path):
    ended = Tool(write_members(tmp_path / "shop"))("events", "erase", "ann")

    assert ended.code == 2
    assert "Add --yes" in ended.err


def test_what_is_in_clear_from_before_the_mark_is_told_with_exit_1(tmp_path):
    folder = write_members(tmp_path / "shop")
    messages = folder / "shop/auth/commands/all.py"
    marked = messages.read_text("utf-8")
    tool = Tool(folder)
    join = ("dispatch", "JoinCommand", "--email", "ann@example.org", "--user-id", "ann", "--wait", "JoinedEvent")
    messages.write_text(marked.replace('Annotated[str, Personal("user_id")]', "str"), "utf-8")
    before = tool(*join)
    messages.write_text(marked, "utf-8")
    after = tool(*join)
    ended = tool("events", "erase", "ann", "--yes")

    assert (before.code, after.code, ended.code) == (0, 0, 1)
    assert "1 message from before the fields were marked" in ended.err
