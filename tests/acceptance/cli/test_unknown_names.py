"""Names of things that do not exist: each command says what there is not, by the name that was typed, and what to do."""

import json

import pytest

LOGIN = ("dispatch", "LoginCommand", "--email", "a@b.c", "--data", '{"password": "right"}', "--sid", "1")

UNKNOWN = [
    (2, "autz", "Did you mean 'auth'?", ("list", "autz")),
    (2, "nobody", "microlith list --components", ("list", "nobody", "--messages")),
    (2, "autz", "Did you mean 'auth'?", ("graph", "autz")),
    (2, "LogiCommand", "Did you mean 'LoginCommand'?", ("describe", "LogiCommand")),
    (2, "LogiCommand", "Did you mean 'LoginCommand'?", ("dispatch", "LogiCommand")),
    (2, "LogiCommand", "Did you mean 'LoginCommand'?", ("bench", "LogiCommand")),
    (2, "emial", "Did you mean 'email'?", ("dispatch", "LoginCommand", "--emial", "x")),
    (2, "UserLogedIn", "Did you mean 'UserLoggedInEvent'?", (*LOGIN, "--wait", "UserLogedIn")),
    (2, "UserLogedIn", "Did you mean 'UserLoggedInEvent'?", (*LOGIN, "--fail-on", "UserLogedIn")),
    (2, "sdi", "Did you mean 'sid'?", (*LOGIN, "--wait", "UserLoggedInEvent where sdi=1")),
    (2, "xyzzy", "Its fields are sid, user_id.", (*LOGIN, "--wait", "UserLoggedInEvent where xyzzy=1")),
    (2, "nobodys", "microlith list", ("replay", "projection", "nobodys")),
    (2, "tpye", "Did you mean 'type'?", ("trace", "--filter", "tpye:x")),
    (1, "ffffffff", "microlith trace", ("trace", "ffffffff")),
    (1, "ffffffff", "microlith trace", ("replay", "correlation", "ffffffff", "--yes")),
    (1, "999999", "microlith events list", ("replay", "message", "999999", "--yes")),
    (1, "999999", "@last", ("events", "show", "999999")),
    (1, "no-stream", "There are", ("replay", "state", "no-stream")),
    (1, "ffffffff", "", ("dead-letters", "show", "ffffffff")),
    (1, "ffffffff", "", ("dead-letters", "drop", "ffffffff", "--yes")),
    (1, "ffffffff", "", ("schedules", "show", "ffffffff")),
]


@pytest.fixture(scope="module")
def used(attached):
    """An application that has handled something."""
    assert attached(*LOGIN, "--wait", "GreetedEvent").code == 0
    return attached


@pytest.mark.parametrize(("code", "name", "hint", "typed"), UNKNOWN, ids=lambda value: None)
def test_name_that_does_not_exist_is_told_with_what_to_do(used, code, name, hint, typed):
    ended = used(*typed)

    error = " ".join(ended.err.split())
    assert (ended.code, ended.out) == (code, "")
    assert f"{name!r}" in error or name in error.partition("hint")[0]
    assert hint in error


@pytest.mark.parametrize(
    "typed", [("events", "list"), ("events", "show", "0"), ("events", "verify"), ("list",), ("dead-letters",)]
)
def test_component_that_does_not_exist_is_told_where_nothing_runs(tool, typed):
    ended = tool(*typed, env={"MICROLITH_COMPONENT": "autz"})

    error = " ".join(ended.err.split())
    assert (ended.code, ended.out) == (1, "")
    assert "There is no component 'autz' to run. hint Did you mean 'auth'?" in error
    assert "does not import" not in error


def test_events_of_a_component_that_is_gone_are_read_and_said_to_be_of_none(tool):
    here = tool.folder / ".microlith"
    assert tool(*LOGIN, "--wait", "GreetedEvent").code == 0
    (here / "gone").mkdir()
    (here / "events.db").rename(here / "gone" / "events.db")

    ended = tool("events", "list", env={"MICROLITH_COMPONENT": "gone"})

    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert "there is no such component any more, so no payload can be masked and shown: gone" in ended.err


@pytest.mark.parametrize("command", ["list", "graph"])
def test_component_that_does_not_exist_is_told_to_machines_too(used, command):
    ended = used(command, "autz", "--json")

    told = json.loads(ended.out or ended.err)
    assert (ended.code, told["error"]["type"], told["error"]["hint"]) == (2, "UnknownNameError", "Did you mean 'auth'?")
