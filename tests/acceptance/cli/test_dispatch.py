"""`microlith dispatch`: the same against a running application and without one."""

import time

import pytest

LOGIN = ("dispatch", "LoginCommand", "--email", "ada@example.org", "--sid", "s1", "--password")


def test_awaited_event_is_shown_on_stdout(either):
    ended = either(*LOGIN, "right", "--wait", "UserLoggedInEvent")

    title, *fields = ended.out.splitlines()
    assert (ended.code, title.split()[0]) == (0, "UserLoggedInEvent")
    assert fields == ["  sid      s1", "  user_id  7"]
    assert "accepted LoginCommand" in ended.err


def test_awaited_event_is_a_cloud_event_in_json(either):
    ended = either(*LOGIN, "right", "--wait", "UserLoggedInEvent", "--json")

    (event,) = ended.lines
    assert (event["specversion"], event["type"], event["source"]) == ("1.0", "UserLoggedInEvent", "/shop/auth")
    assert event["data"] == {"sid": "s1", "user_id": "7"}
    assert event["causationid"] == event["correlationid"]


def test_all_awaited_events_are_shown(either):
    ended = either(*LOGIN, "right", "--wait", "GreetedEvent", "--wait", "UserLoggedInEvent", "--all", "--json")

    assert {event["type"] for event in ended.lines} == {"UserLoggedInEvent", "GreetedEvent"}


def test_first_of_several_awaited_events_ends_the_wait(either):
    ended = either(*LOGIN, "right", "--wait", "NeverEvent", "--wait", "auth.UserLoggedInEvent")

    assert (ended.code, ended.out.split()[0]) == (0, "UserLoggedInEvent")


def test_event_that_means_no_is_shown_with_exit_code_1(either):
    ended = either(*LOGIN, "wrong", "--wait", "UserLoggedInEvent", "--fail-on", "LoginErrorRaised")

    assert ended.code == 1
    assert ended.out.splitlines()[1:] == [
        "  email   ada@example.org",
        "  sid     s1",
        '  errors  ["invalid_password"]',
    ]


def test_query_waits_for_its_response(either):
    ended = either("dispatch", "CurrentUserRequest", "--id", "7")

    assert (ended.code, ended.out.split()[0]) == (0, "CurrentUserResponse")
    assert "  email    ada@example.org" in ended.out


def test_command_that_is_not_waited_for_prints_its_ids(either):
    ended = either(*LOGIN, "right")

    words = ended.out.split()
    assert (ended.code, words[:4]) == (0, ["LoginCommand", "accepted", "message", "id"])
    assert len(words[4]) == 36


def test_command_that_is_not_waited_for_is_a_cloud_event_in_json(either):
    (accepted,) = either(*LOGIN, "right", "--json").lines

    assert accepted["type"] == "LoginCommand"
    assert accepted["data"] == {"email": "ada@example.org", "password": "***", "sid": "s1"}


def test_event_can_be_dispatched(either):
    ended = either("dispatch", "UserLoggedInEvent", "--sid", "a", "--user-id", "9", "--wait", "GreetedEvent")

    assert (ended.code, ended.out.splitlines()[1]) == (0, "  user_id  9")


def test_secrets_are_masked_unless_they_are_asked_for(either):
    masked = either("dispatch", "CurrentUserRequest", "--id", "7", "--json")
    shown = either("dispatch", "CurrentUserRequest", "--id", "7", "--reveal", "--json")

    assert masked.lines[0]["data"]["api_key"] == "***"
    assert shown.lines[0]["data"]["api_key"] == "key-planted"


def test_timeout_tells_what_did_happen(either):
    ended = either("dispatch", "SlowCommand", "--seconds", "3", "--wait", "SlowDoneEvent", "--timeout", "300ms")

    assert (ended.code, ended.out) == (3, "")
    assert "error SlowDoneEvent did not come within 0.3 s" in ended.err
    assert "Still running: auth.slow" in ended.err
    assert "hint  SlowDoneEvent comes from auth.slow" in ended.err
    assert "► SlowCommand" in ended.err


def test_timeout_in_json_carries_the_report(either):
    ended = either("dispatch", "SlowCommand", "--seconds", "3", "--wait", "SlowDoneEvent", "--timeout", "0.3", "--json")

    (line,) = ended.lines
    assert (ended.code, line["exit"], line["error"]["type"]) == (3, 3, "WaitTimeout")
    assert line["error"]["report"]["missing"] == ["SlowDoneEvent"]
    assert line["error"]["report"]["running"][0]["handler"] == "auth.slow"


def test_failure_of_a_handler_ends_the_wait_at_once(either):
    begun = time.monotonic()

    ended = either("dispatch", "FailCommand", "--wait", "NeverEvent", "--timeout", "25s")

    assert time.monotonic() - begun < 15
    assert (ended.code, ended.out) == (1, "")
    assert "error Handler auth.fail failed on FailCommand: ValueError: planted" in ended.err
    assert "shop/auth/handlers/all.py:" in ended.err


def test_failure_of_a_handler_in_json_has_its_place(either):
    ended = either("dispatch", "FailCommand", "--wait", "NeverEvent", "--json")

    (line,) = ended.lines
    assert (line["exit"], line["error"]["type"]) == (1, "HandlerFailedError")
    assert line["error"]["file"].endswith("shop/auth/handlers/all.py")
    assert line["error"]["line"] > 0


def test_flags_reach_the_handler(either):
    ended = either(
        *("dispatch", "EchoCommand", "--wait", "EchoedEvent", "--json", "--text", "a b", "--address.city", "Köln"),
        *("--tags", "x", "--tags=y", "--count", "-5", "--price", "12.50", "--no-active", "--unit", "g"),
        *("--field.timeout", "9"),
    )

    data = ended.lines[0]["data"]
    assert data.pop("price") in {"12.50", "12.5"}
    assert data == {
        "text": "a b",
        "address": {"city": "Köln", "zip_code": ""},
        "tags": ["x", "y"],
        "count": -5,
        "active": False,
        "unit": "g",
        "timeout": 9,
    }


@pytest.mark.parametrize("form", ["inline", "file", "stdin"])
def test_payload_is_read_as_json(attached, form):
    payload = '{"text": "from json", "count": 1}'
    attached.folder.joinpath("payload.json").write_text("\ufeff" + payload, "utf-8")
    data = {"inline": payload, "file": "@payload.json", "stdin": "-"}[form]

    ended = attached(
        "dispatch", "EchoCommand", "--data", data, "--count", "2", "--wait", "EchoedEvent", "--json", stdin=payload
    )

    assert (ended.lines[0]["data"]["text"], ended.lines[0]["data"]["count"]) == ("from json", 2)


def test_secret_given_in_json_is_not_asked_for(either):
    ended = either(*LOGIN[:-1], "--data", "-", "--wait", "UserLoggedInEvent", stdin='{"password": "right"}')

    assert ended.code == 0
    assert "right" not in ended.out + ended.err
