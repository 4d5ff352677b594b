"""What `microlith dispatch` refuses: wrong flags, wrong payloads, and nobody to talk to. Nothing hangs."""

import socket

import pytest

from microlith_cli.strict_json import MAX_PAYLOAD


def test_unknown_field_is_refused_with_the_nearest_name(either):
    ended = either("dispatch", "LoginCommand", "--emial", "x", "--password", "y", "--sid", "z")

    assert (ended.code, ended.out) == (2, "")
    assert "emial: there is no such field" in ended.err
    assert "hint  Did you mean 'email'?" in ended.err


def test_missing_fields_are_all_named(either):
    ended = either("dispatch", "LoginCommand", "--json")

    (line,) = ended.lines
    assert (ended.code, line["exit"], line["error"]["type"]) == (2, 2, "PayloadError")
    assert [problem["field"] for problem in line["error"]["problems"]] == ["email", "password", "sid"]


def test_value_that_the_message_refuses_is_told_by_field_and_never_shown(either):
    ended = either("dispatch", "EchoCommand", "--data", '{"unit": "hunter2", "address": {"city": 5}}', "--json")

    (line,) = ended.lines
    assert ended.code == 2
    assert {problem["field"] for problem in line["error"]["problems"]} == {"unit", "address.city"}
    assert "hunter2" not in ended.out + ended.err


def test_unknown_message_is_refused_with_the_nearest_name(either):
    ended = either("dispatch", "LoginComand", "--email", "x")

    assert ended.code == 2
    assert "Did you mean 'LoginCommand'?" in ended.err


@pytest.mark.parametrize("option", ["--wait", "--fail-on"])
def test_unknown_awaited_message_is_refused_before_anything_is_sent(either, option):
    ended = either("dispatch", "SlowCommand", "--seconds", "0", option, "SlowDoneEvnt")

    assert ended.code == 2
    assert "accepted" not in ended.out + ended.err
    assert "Did you mean 'SlowDoneEvent'?" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Which message?"),
        (["--email", "x", "LoginCommand"], "comes before its fields"),
        (["LoginCommand", "--once", "--attach"], "exclude each other"),
        (["LoginCommand", "--all"], "needs at least one --wait"),
        (["LoginCommand", "--wait"], "--wait needs a value"),
        (["LoginCommand", "--timeout", "soon"], "--timeout takes a time"),
        (["LoginCommand", "--timeout", "0"], "--timeout takes a time"),
        (["LoginCommand", "--timeout", "2s", "--timeout", "3s"], "given 2 times"),
        (["LoginCommand", "--data", "@nowhere.json"], "No such file"),
        (["LoginCommand", "--data", "[1]"], "one JSON object"),
        (["LoginCommand", "--data", "{"], "This JSON is refused"),
        (["LoginCommand", "--json=yes"], "--json takes no value"),
    ],
)
def test_command_line_that_cannot_be_meant_is_refused(tool, arguments, said):
    ended = tool("dispatch", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "running" not in ended.err


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"text": NaN}', "NaN"),
        ('{"count": 1e999}', "not finite"),
        ('{"count": 9223372036854775808}', "64 bits"),
        ('{"count": ' + "1" * 4301 + "}", "64 bits"),
        ('{"text": "a", "text": "b"}', "'text' comes twice"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"tags": ' + nested(64) + "}", "deeper than 64"),
        ('{"tags": ' + nested(100_000) + "}", "deeper than 64"),
        (b'{"text": "\xff"}', "not UTF-8"),
        ('{"text": "' + "x" * MAX_PAYLOAD + '"}', "more than 1048576 bytes"),
    ],
)
def test_payload_beyond_the_limits_is_refused_before_it_is_sent(attached, payload, said):
    ended = attached("dispatch", "EchoCommand", "--data", "-", stdin=payload)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_payload_at_the_limit_is_accepted(attached):
    payload = '{"sid":"' + "x" * (MAX_PAYLOAD - len('{"sid":"","user_id":"7"}')) + '","user_id":"7"}'
    assert len(payload) == MAX_PAYLOAD

    ended = attached("dispatch", "UserLoggedInEvent", "--data", "-", "--wait", "GreetedEvent", stdin=payload)

    assert (ended.code, ended.out.splitlines()[1]) == (0, "  user_id  7"), ended.err


def test_attaching_where_nothing_runs_is_exit_code_4(tool):
    ended = tool("dispatch", "CurrentUserRequest", "--id", "7", "--attach")

    assert (ended.code, ended.out) == (4, "")
    assert "error No microlith of shop is running." in ended.err
    assert "microlith run" in ended.err


def test_attaching_to_a_stale_socket_is_exit_code_4(tool):
    (tool.folder / ".microlith").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tool.folder / ".microlith" / "control.sock"))

    attach = tool("dispatch", "CurrentUserRequest", "--id", "7", "--attach", "--json")
    auto = tool("dispatch", "CurrentUserRequest", "--id", "7")

    assert (attach.code, attach.lines[0]["exit"]) == (4, 4)
    assert auto.code == 0
    assert "no microlith is running here; running shop once" in auto.err


def test_directory_that_others_may_write_into_is_refused(tool):
    (tool.folder / ".microlith").mkdir()
    (tool.folder / ".microlith").chmod(0o777)

    ended = tool("dispatch", "CurrentUserRequest", "--id", "7")

    assert (ended.code, ended.out) == (1, "")
    assert "Other users may write" in ended.err


def test_outside_a_project_it_says_what_to_do(tmp_path, tool):
    ended = tool("-C", str(tmp_path), "dispatch", "LoginCommand")

    assert ended.code == 2
    assert "No pyproject.toml with [tool.microlith]" in ended.err
