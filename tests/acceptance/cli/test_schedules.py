"""`microlith schedules` and `dispatch --after | --at`: with a running application and without one."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from microlith import Command, correlated
from microlith.event_store.protocol import TimedUnit
from microlith.event_store.schedule import Scheduling
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.serialization import MessageTypes
from tests.acceptance.cli.shop import Tool


@pytest.fixture
def empty(either: Tool) -> Tool:
    """The tool in a project where nothing is scheduled."""
    for row in either("schedules", "--json").lines:
        assert either("schedules", "cancel", row["id"], "--yes").code == 0
    return either


def schedule(tool: Tool, *when: str, text: str = "planted") -> str:
    """Have a command sent later; return its message id."""
    ended = tool("dispatch", "FailCommand", "--text", text, *when, "--json")
    assert ended.code == 0, ended.err
    return str(ended.lines[0]["id"])


def test_scheduled_messages_are_listed_the_next_one_first(empty):
    later, sooner = schedule(empty, "--after", "3d"), schedule(empty, "--after", "2h")

    ended = empty("schedules")
    rows = empty("schedules", "list", "--json").lines

    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["id", "due", "message", "name", "correlation"]
    assert [line.split()[:4] for line in ended.out.splitlines()[1:]] == [
        [sooner[-8:], "in", "1h", "FailCommand"],
        [later[-8:], "in", "2d", "FailCommand"],
    ]
    assert [(row["id"], row["message"], "turn" in row) for row in rows] == [
        (sooner, "FailCommand", False),
        (later, "FailCommand", False),
    ]


def test_when_it_is_due_is_told(empty):
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)

    ended = empty("dispatch", "FailCommand", "--text", "x", "--at", at.isoformat())

    assert ended.code == 0
    assert "FailCommand  scheduled" in ended.out
    assert at.strftime("%Y-%m-%dT%H:%M:%S.000000Z") in ended.out


def test_one_is_shown_with_its_payload(empty):
    message_id = schedule(empty, "--after", "1h", text="hello")

    ended = empty("schedules", "show", message_id[-8:])
    (row,) = empty("schedules", "show", message_id, "--json").lines

    assert ended.code == 0
    assert "hello" in ended.out
    assert message_id in ended.out
    assert (row["id"], row["data"]) == (message_id, {"text": "hello"})


def test_one_is_cancelled_and_the_others_stay(empty):
    first, second = schedule(empty, "--after", "1h"), schedule(empty, "--after", "1h")

    ended = empty("schedules", "cancel", first[-8:], "--yes")
    again = empty("schedules", "cancel", first, "--yes")

    assert (ended.code, ended.out.split()) == (0, [first[-8:], "FailCommand", "cancelled"])
    assert (again.code, "; there is 1." in again.err) == (1, True)
    assert [row["id"] for row in empty("schedules", "--json").lines] == [second]


def test_without_schedules_there_is_nothing_to_list(empty):
    ended = empty("schedules")

    assert (ended.code, ended.out) == (1, "")
    assert "Nothing is scheduled." in ended.err


def test_cancelling_without_a_terminal_needs_a_yes(empty):
    message_id = schedule(empty, "--after", "1h")

    ended = empty("schedules", "cancel", message_id)

    assert ended.code == 2
    assert "--yes" in ended.err


@pytest.mark.parametrize(
    ("when", "says"),
    [
        (("--after", "soon"), "--after takes a time"),
        (("--at", "2030-01-01"), "time zone"),
        (("--at", "tomorrow"), "time zone"),
        (("--after", "1s", "--at", "2030-01-01T00:00:00Z"), "exclude each other"),
        (("--after", "1s", "--wait", "NeverEvent"), "exclude each other"),
    ],
)
def test_moment_that_is_none_is_refused(empty, when, says):
    ended = empty("dispatch", "FailCommand", "--text", "x", *when)

    assert ended.code == 2
    assert says in ended.err
    assert empty("schedules").code == 1


def test_query_that_is_to_be_sent_later_is_refused(empty):
    ended = empty("dispatch", "CurrentUserRequest", "--id", "1", "--after", "1s")

    assert ended.code == 2
    assert "is a query, and is not kept" in ended.err


def test_what_means_no_schedule_is_told(empty):
    empty("dispatch", "FailCommand", "--text", "x", "--after", "1h")

    ended = empty("schedules", "cancel", "nope", "--yes")

    assert ended.code == 1
    assert "No scheduled message is 'nope'; there is 1." in ended.err


def test_secrets_of_a_scheduled_message_are_masked(empty):
    login = ("--email", "a@b.c", "--sid", "1", "--data", '{"password": "hunter22"}', "--after", "1h")
    sent = empty("dispatch", "LoginCommand", *login, "--json")

    shown = empty("schedules", "show", str(sent.lines[0]["id"]))

    assert "hunter22" not in sent.out + shown.out + shown.err
    assert "***" in shown.out


def keep_overdue(tool: Tool) -> str:
    """Put a command into the store of a project where nothing runs, due long ago; return its message id."""

    class FailCommand(Command):
        text: str

    envelope = correlated(FailCommand(text="overdue"))

    async def keep() -> None:
        types = MessageTypes()
        types.add(FailCommand, "auth")
        store = SQLiteEventStore(tool.folder / ".microlith/events.db", types)
        await store.open()
        store.complete(TimedUnit([], changes=[Scheduling(envelope, 1_000_000_000.0)]), lambda *_: None)
        await store.flush()
        await store.close()

    assert tool("schedules").code == 1  # makes the folder
    asyncio.run(keep())
    return envelope.message_id


def test_looking_and_cancelling_without_a_running_application_sends_nothing_that_is_due(tool):
    message_id = keep_overdue(tool)

    listed = tool("schedules")
    ended = tool("schedules", "cancel", message_id, "--yes")

    assert listed.out.splitlines()[1].split()[:2] == [message_id[-8:], "now"]
    assert ended.code == 0
    assert tool("dead-letters").code == 1


def test_what_is_overdue_is_sent_by_the_next_one_that_runs(tool):
    message_id = keep_overdue(tool)

    tool("dispatch", "FailCommand", "--text", "other", "--wait", "NeverEvent")

    assert message_id in [row["id"] for row in tool("dead-letters", "--json").lines]
    assert tool("schedules").code == 1
