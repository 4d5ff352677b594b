"""`microlith events`: the log from the terminal, beside a running application and without one."""

import asyncio
import json
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, start_run, stop, write_shop
from tests.eventually import eventually
from tests.hostile import TEXTS, unsafe_in


def echo(tool: Tool, *texts: str) -> list[str]:
    """Make events; gives their ids."""
    ids = []
    for text in texts:
        ended = tool(
            *("dispatch", "EchoCommand", "--data", "-", "--wait", "EchoedEvent", "--json"),
            stdin=json.dumps({"text": text}),
        )
        assert ended.code == 0, ended.err
        ids += [row["id"] for row in ended.lines if row.get("type") == "EchoedEvent"]
    return ids


def log_in(tool: Tool) -> None:
    """Make two events: a user is logged in, and greeted."""
    login = ("--email", "a@b.c", "--sid", "1", "--data", '{"password": "right"}')
    assert tool("dispatch", "LoginCommand", *login, "--wait", "GreetedEvent").code == 0


def line(position: int, **changes: object) -> str:
    """Write a line of an export."""
    told = {
        "specversion": "1.0",
        "id": f"id-{position}",
        "type": "GreetedEvent",
        "time": "2026-11-23T10:00:00.000000Z",
        "correlationid": "c",
        "component": "auth",
        "version": 1,
        "stream": "auth",
        "streamposition": position,
        "position": position,
        "depth": 0,
        "data": {"user_id": str(position)},
    }
    return json.dumps(told | changes, separators=(",", ":")) + "\n"


def stored(folder: Path) -> list[tuple[object, ...]]:
    """Read what a log holds, without its tool."""
    with sqlite3.connect(folder / ".microlith" / "events.db") as connection:
        rows = connection.execute(
            "SELECT position, component, type, version, head, data FROM events JOIN types USING (kind) ORDER BY position"
        ).fetchall()
    connection.close()
    return rows


@pytest.fixture
def other(tmp_path):
    """Another project with the same application, and an empty log."""
    return Tool(write_shop(tmp_path / "other"))


def test_newest_events_are_listed_last(either):
    ids = echo(either, "one", "two", "three")

    ended = either("events", "list", "--limit", "2")
    lines = either("events", "list", "-n", "2", "--json").lines

    assert ended.code == 0
    assert ["text=two" in row or "text=three" in row for row in ended.out.splitlines()] == [True, True]
    assert [row["id"] for row in lines] == ids[1:]
    assert lines[1]["position"] == lines[0]["position"] + 1
    assert lines[1]["data"]["text"] == "three"


def test_events_are_chosen_by_stream_type_position_and_filter(either):
    log_in(either)
    echo(either, "apple", "pear", "apple")
    first = either("events", "list", "-n", "5", "--json").lines[0]["position"]

    def chosen(*arguments: str) -> list[int]:
        lines = either("events", "list", "--after", str(first - 1), *arguments, "--json").lines
        return [row["position"] - first for row in lines]

    assert chosen() == [0, 1, 2, 3, 4]
    assert chosen("--limit", "2") == [0, 1]
    assert chosen("--type", "GreetedEvent", "--type", "auth.UserLoggedInEvent") == [0, 1]
    assert chosen("--stream", "auth", "--type", "EchoedEvent") == [2, 3, 4]
    assert chosen("--filter", "data.text=apple") == [2, 4]
    newest = either("events", "list", "--filter", "data.text=apple", "-n", "1", "--json").lines
    assert [row["position"] - first for row in newest] == [4]
    assert either("events", "list", "--stream", "auth", "-n", "1", "--json").lines[0]["position"] - first == 4


@pytest.mark.parametrize("wrong", [("--filter", "status:failed"), ("--filter", "nonsense:"), ("--limit", "0")])
def test_choice_that_cannot_be_meant_is_refused(tool, wrong):
    assert tool("events", "list", *wrong).code == 2


def test_nothing_found_is_said(tool):
    empty, unknown = tool("events", "list"), tool("events", "show", "@last")
    echo(tool, "x")

    none = tool("events", "list", "--type", "NeverEvent")

    assert (empty.code, empty.err.splitlines()[-1]) == (1, "No events.")
    assert (unknown.code, none.code) == (1, 1)
    assert "is no event; there are none" in unknown.err


def test_one_is_shown_by_position_id_or_from_the_end(either):
    (first, second) = echo(either, "first", "second")
    position = either("events", "show", "@-2", "--json").lines[0]["position"]

    for named in (str(position), first, first[:-1], first[-8:], "@-2"):
        (shown,) = either("events", "show", named, "--json").lines
        assert (shown["id"], shown["data"]["text"]) == (first, "first"), named
    block = either("events", "show", "@last").out
    assert second in block
    assert f"position         {position + 1}" in block


def test_what_means_no_event_or_several_is_refused(either):
    (first, second) = echo(either, "a", "b")
    common = first[:3]
    assert second.startswith(common)

    nothing, several = either("events", "show", "zzz"), either("events", "show", common)

    assert (nothing.code, several.code) == (1, 2)
    assert "EchoedEvent" in several.err


def test_looking_at_rest_starts_nothing_and_changes_nothing(tool):
    echo(tool, "x")
    store = tool.folder / ".microlith" / "events.db"
    handlers = tool.folder / "shop/auth/handlers/all.py"
    handlers.write_text(
        handlers.read_text("utf-8") + "\n\n@auth.handles(EchoedEvent)\nasync def wake(event: EchoedEvent) -> None:\n"
        '    open("woken", "w").close()\n',
        "utf-8",
    )
    before = store.read_bytes()

    codes = [tool("events", *words).code for words in (["list"], ["show", "0"], ["export"], ["verify"])]

    assert codes == [0, 0, 0, 0]
    assert store.read_bytes() == before
    assert not (tool.folder / "woken").exists()


def test_followed_events_come_as_they_happen(attached):
    echo(attached, "before")
    process = attached.start("events", "list", "-n", "1", "--follow", "--json")
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        ids = echo(attached, "now", "and now")
        rest = [json.loads(process.stdout.readline()) for _ in ids]
    finally:
        process.terminate()
        process.communicate()

    assert first["data"]["text"] == "before"
    assert [row["id"] for row in rest] == ids
    assert [row["position"] for row in rest] == [first["position"] + 1, first["position"] + 2]


def test_following_without_a_running_application_is_refused(tool):
    ended = tool("events", "list", "--follow")

    assert ended.code == 4
    assert "nothing to follow" in ended.err


def test_log_is_verified(either):
    echo(either, "x")

    assert "checksums" in either("events", "verify").out
    assert either("events", "verify", "--json").lines[0]["verified"] >= 1


def test_damage_is_told_with_its_position(tool):
    echo(tool, "a", "b", "c")
    with sqlite3.connect(tool.folder / ".microlith" / "events.db") as connection:
        connection.execute("UPDATE events SET data = x'7b7d' WHERE position = 1")
    connection.close()

    ended = tool("events", "verify", "--json")

    assert ended.code == 1
    assert "position 1" in ended.lines[-1]["error"]["message"]


def test_reader_that_leaves_ends_an_export_without_a_word(tool):
    lines = "".join(line(position, data={"user_id": "x" * 5000}) for position in range(300))
    assert tool("events", "import", "-", stdin=lines).code == 0

    process = tool.start("events", "export")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, told = process.communicate(timeout=20)

    assert (process.returncode, told) == (0, "")


def test_export_masks_secrets_says_so_and_cannot_be_imported(tool, other):
    messages = tool.folder / "shop/auth/commands/all.py"
    for folder in (tool.folder, other.folder):
        path = folder / messages.relative_to(tool.folder)
        path.write_text(
            path.read_text("utf-8").replace(
                "class EchoedEvent(Event):", "class EchoedEvent(Event):\n    token: str = 'planted'"
            )
        )
    echo(tool, "x")

    masked, clear = tool("events", "export"), tool("events", "export", "--reveal")

    assert "planted" not in masked.out
    assert [(row["masked"], row["data"]["token"]) for row in masked.lines] == [(True, "***")]
    assert clear.lines[0]["data"]["token"] == "planted"
    refused = other("events", "import", "-", stdin=masked.out)
    assert refused.code == 2
    assert "line 1: its secrets are masked" in refused.err
    assert "--reveal" in refused.err
    assert other("events", "import", "-", stdin=clear.out).code == 0


def test_personal_fields_stay_sealed_on_their_way(tool, other):
    for each in (tool, other):
        path = each.folder / "shop/auth/commands/all.py"
        text = path.read_text("utf-8").replace(
            "class EchoedEvent(Event):\n    text: str",
            'class EchoedEvent(Event):\n    text: Annotated[str, Personal("unit")]',
        )
        path.write_text(f"from typing import Annotated\nfrom microlith import Personal\n{text}", "utf-8")
    echo(tool, "planted", "planted too")

    listed, clear = tool("events", "list"), tool("events", "export", "--reveal")
    refused = other("events", "import", "-", stdin=clear.out)
    (other.folder / ".microlith" / "keys.db").write_bytes((tool.folder / ".microlith" / "keys.db").read_bytes())
    taken = other("events", "import", "-", stdin=clear.out)

    assert (listed.code, clear.code, refused.code, taken.code) == (0, 0, 2, 0), refused.err + taken.err
    assert "planted" not in listed.out + clear.out
    assert "hint  Nothing was imported. Copy `.microlith/keys.db` from where" in refused.err
    assert other("events", "export", "--reveal").out == clear.out


def test_imported_log_is_the_exported_one_and_its_export_is_the_same_file(tool, other):
    """With hostile text, large payloads, odd headers, old versions, and streams that cross each other."""
    log_in(tool)
    echo(tool, TEXTS["right to left"] + TEXTS["tags"] + TEXTS["delete"], "x" * 1_000_000)
    head = int(tool("events", "show", "@last", "--json").lines[0]["position"]) + 1
    more = [
        line(
            head,
            stream="größe\u202e",
            streamposition=0,
            headers='{"tr\\u00e4ce":"\\u001b[2J \\u202e"}',
            causationid="p",
        ),
        line(head + 1, stream="other", streamposition=0, version=1, type="Gone", component="lost", data={"a": [1, {}]}),
        line(head + 2, stream="größe\u202e", streamposition=1, time="2001-02-03T04:05:06.000007Z", depth=99),
    ]
    ended = tool("events", "import", "-", "--unreadable", stdin="".join(more))
    assert ended.code == 0, ended.err

    first = tool("events", "export", "first.jsonl", "--reveal")
    imported = other("events", "import", str(tool.folder / "first.jsonl"), "--unreadable", "--json")
    other("events", "export", "second.jsonl", "--reveal")

    assert (first.code, imported.code) == (0, 0), imported.err
    assert imported.lines == [{"imported": head + 3, "known": 0, "head": head + 2, "stopped": []}]
    assert (tool.folder / "first.jsonl").read_bytes() == (other.folder / "second.jsonl").read_bytes()
    assert [row[:4] + row[5:] for row in stored(tool.folder)] == [row[:4] + row[5:] for row in stored(other.folder)]
    assert (tool.folder / "first.jsonl").stat().st_mode & 0o777 == 0o600
    assert unsafe_in((tool.folder / "first.jsonl").read_text("utf-8")) == []
    assert other("events", "verify").code == 0


def test_hostile_text_is_listed_harmlessly(tool):
    texts = [text for name, text in TEXTS.items() if name not in {"null", "lone surrogates"}]
    lines = [line(position, data={"user_id": text}) for position, text in enumerate(texts)]
    assert tool("events", "import", "-", stdin="".join(lines)).code == 0

    told = tool("events", "list", "--after", "-1", "--json")
    rows = tool("events", "list", "--after", "-1")

    assert (unsafe_in(rows.out), unsafe_in(told.out)) == ([], [])
    assert [row["data"]["user_id"] for row in told.lines] == texts
    assert len(rows.out.splitlines()) == len(texts)


def test_export_beside_a_running_application_is_the_export_at_rest(tmp_path):
    tool = Tool(write_shop(tmp_path / "shop"))
    process = start_run(tool.folder)
    try:
        echo(tool, *map(str, range(3)), "x" * 700_000, "é" * 100_000)
        running = tool("events", "export", "--reveal").out
        refused = tool("events", "import", "-", stdin=running)
    finally:
        stop(process)

    assert running == tool("events", "export", "--reveal").out
    assert (refused.code, len(running.splitlines())) == (1, 5)
    assert "is already running" in refused.err


def test_read_models_know_what_was_imported_and_reactions_do_not(tool):
    """The imported login is history: it is looked up, and nobody is greeted again."""
    projection = tool.folder / "shop/auth/projections/users.py"
    projection.parent.mkdir()
    (projection.parent / "__init__.py").touch()
    projection.write_text(
        "from microlith import ReadModel, Table\nfrom shop.auth import auth\nfrom shop.auth.commands.all import *\n\n\n"
        'class User(ReadModel, key="sid"):\n    sid: str\n\n\nusers = auth.projection("users", User)\n\n\n'
        "@users.on(UserLoggedInEvent)\ndef user(event: UserLoggedInEvent, table: Table[User]) -> None:\n"
        "    table.put(User(sid=event.sid))\n",
        "utf-8",
    )
    first = line(0, type="UserLoggedInEvent", data={"sid": "7", "user_id": "7"})

    assert tool("events", "import", "-", stdin=first).code == 0

    with sqlite3.connect(tool.folder / ".microlith" / "events.db") as connection:
        assert connection.execute("SELECT key FROM rows_auth_users__user").fetchall() == [("7",)]
    connection.close()
    echo(tool, "after")
    assert [row["type"] for row in tool("events", "list", "--json").lines] == ["UserLoggedInEvent", "EchoedEvent"]


def test_file_that_begins_with_the_log_adds_the_rest_and_repeats_nothing(tool):
    whole = "".join(line(position) for position in range(1200))
    part = "".join(line(position) for position in range(700))

    codes = [tool("events", "import", "-", stdin=text, env={}).code for text in (part, whole, whole, part)]
    ended = tool("events", "import", "-", "--json", stdin=line(1200))

    assert codes == [0, 0, 0, 0]
    assert ended.lines == [{"imported": 1, "known": 0, "head": 1200, "stopped": []}]
    assert len(stored(tool.folder)) == 1201


def test_file_that_does_not_continue_the_log_is_refused(tool):
    assert tool("events", "import", "-", stdin=line(0) + line(1)).code == 0

    changed = tool("events", "import", "-", stdin=line(0) + line(1, data={"user_id": "2"}) + line(2))
    later = tool("events", "import", "-", stdin=line(3))

    assert (changed.code, later.code) == (1, 1)
    assert "line 2 is not the event at its position 1" in changed.err
    assert "The log holds 2 events" in later.err
    assert len(stored(tool.folder)) == 2


BROKEN = {
    "duplicate id": ([line(0), line(1, id="id-0")], "line 2: has the id 'id-0', which an event before it has"),
    "gap in a stream": (
        [line(0), line(1, streamposition=2)],
        "line 2: has stream position 2 in stream 'auth', where 1",
    ),
    "stream that begins late": ([line(0), line(1, stream="x")], "line 2: has stream position 1 in stream 'x', where 0"),
    "late": ([line(at) for at in range(900)] + ["{}\n"], "line 901: 'data' is no JSON object"),
    "late duplicate": ([line(at) for at in range(900)] + [line(900, id="id-3")], "line 901: has the id 'id-3'"),
    "cut off": ([line(0), line(1)[:-20]], "line 2: is cut off"),
    "bytes": (["\udcff\udcfe"], "line 1: "),
    "nothing": ([], "There are no events in it."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_imports_nothing_and_names_the_line(tool, name):
    lines, problem = BROKEN[name]
    given = "".join(lines).encode("utf-8", "surrogateescape")

    ended = tool("events", "import", "-", stdin=given)
    told = tool("events", "import", "-", "--json", stdin=given).lines

    assert ended.code == 2
    assert problem in ended.err
    assert told[-1]["error"]["type"] == "ImportFileError"
    assert tool("events", "list").code == 1


async def test_killed_import_leaves_an_empty_log(tool):
    path = tool.folder / "many.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line(position, stream=f"s-{position}", streamposition=0) for position in range(60_000))
    for moment in (0.3, 0.6):
        process = tool.start("events", "import", str(path))
        await eventually((tool.folder / ".microlith" / "events.db-wal").exists)
        await asyncio.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()

        assert tool("events", "list").code == 1


async def test_interrupted_import_says_so_and_leaves_an_empty_log(tool):
    process = tool.start("events", "import", "-")
    assert process.stdin is not None
    process.stdin.write("".join(line(position) for position in range(2000)))
    process.stdin.flush()
    await eventually((tool.folder / ".microlith" / "events.db-wal").exists)
    process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.1)
    _, told = process.communicate("".join(line(position) for position in range(2000, 4000)), timeout=20)

    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert tool("events", "list").code == 1


def test_file_that_is_there_is_not_replaced_unless_told_so(tool):
    echo(tool, "x")
    (tool.folder / "there").write_text("mine")

    refused = tool("events", "export", "there")

    assert refused.code == 2
    assert (tool.folder / "there").read_text() == "mine"
    assert tool("events", "export", "there", "--force", "--json").lines[0]["exported"] == 1
    assert [path.name for path in tool.folder.iterdir() if path.name.startswith(".there")] == []


def test_import_into_memory_is_refused(tool):
    app = tool.folder / "shop/app.py"
    app.write_text(app.read_text("utf-8").replace('components="shop"', 'components="shop", store="memory:"'), "utf-8")

    ended = tool("events", "import", "-", stdin=line(0))

    assert ended.code == 4
    assert "in memory" in ended.err
