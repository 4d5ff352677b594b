"""`microlith dispatch` with payloads that come from elsewhere: an earlier trace, an editor, a file of many."""

import json

import pytest

from tests.acceptance.cli.shop import Tool, write_shop

ECHO = ("dispatch", "EchoCommand", "--text", "one", "--count", "3", "--wait", "EchoedEvent")


@pytest.fixture
def tool(tmp_path):
    return Tool(write_shop(tmp_path / "shop"))


def echoed(ended):
    (event,) = (line for line in ended.lines if line.get("type") == "EchoedEvent")
    return {key: event["data"][key] for key in ("text", "count")}


def test_an_earlier_message_is_sent_again_with_overrides(tool):
    tool(*ECHO)

    again = tool("dispatch", "--from", "@last", "--text", "two", "--wait", "EchoedEvent", "--json")

    assert again.code == 0
    assert echoed(again) == {"text": "two", "count": 3}


def test_secrets_of_an_earlier_message_are_not_known_and_must_be_given(tool):
    tool("dispatch", "LoginCommand", "--email", "a@b.c", "--sid", "1", "--password", "right")

    without = tool("dispatch", "--from", "@last", "--wait", "UserLoggedInEvent")
    given = tool("dispatch", "--from", "@last", "--password", "right", "--wait", "UserLoggedInEvent")

    assert (without.code, given.code) == (2, 0)
    assert "password: is required" in without.err


def test_an_earlier_message_of_another_type_is_refused(tool):
    tool(*ECHO)

    ended = tool("dispatch", "LoginCommand", "--from", "@last")

    assert ended.code == 2
    assert "began with EchoCommand, not with LoginCommand" in ended.err


def test_a_payload_is_edited_before_it_goes(tool, tmp_path):
    editor = tmp_path / "my editor.sh"
    editor.write_text('#!/bin/sh\nsed -i "s/one/edited/" "$1"\n')
    editor.chmod(0o755)

    ended = tool(*ECHO, "--edit", "--json", env={"EDITOR": f"'{editor}'"})

    assert echoed(ended) == {"text": "edited", "count": 3}


@pytest.mark.parametrize(
    ("editor", "code", "said"),
    [
        ("false", 1, "ended with 1; nothing was sent"),
        ("/nowhere/edit", 1, "cannot be started"),
        ("truncate -s 0", 2, "refused"),
    ],
)
def test_an_editor_that_fails_sends_nothing(tool, editor, code, said):
    ended = tool(*ECHO, "--edit", env={"EDITOR": editor, "VISUAL": ""})

    assert ended.code == code
    assert said in ended.err
    assert "accepted" not in ended.err


def test_every_line_of_a_batch_is_sent_and_summed_up(tool, tmp_path):
    lines = [{"text": str(n)} for n in range(50)] + [{"count": "no number"}, {"frob": 1}]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "no json\n\n")

    ended = tool("dispatch", "EchoCommand", "--batch", str(file), "--wait", "EchoedEvent", "--json")

    *matched, last = ended.lines
    assert sorted((line["data"]["text"] for line in matched), key=int) == [str(n) for n in range(50)]
    summary = last["summary"]
    assert (summary["sent"], summary["ok"], summary["failed"]) == (53, 50, 3)
    assert [error["line"] for error in summary["errors"]] == [51, 52, 53]
    assert summary["ms"]["p50"] <= summary["ms"]["p95"] <= summary["ms"]["p99"]
    assert ended.code == 2


def test_a_batch_without_a_message_names_it_in_each_line(tool):
    lines = [{"type": "EchoCommand", "data": {"text": "a"}}, {"type": "CurrentUserRequest", "data": {"id": 7}}]

    ended = tool("dispatch", "--batch", "-", "--json", stdin="".join(f"{json.dumps(line)}\n" for line in lines))

    assert ended.code == 0
    assert [line["type"] for line in ended.lines[:-1]] == ["CurrentUserResponse"]
    assert ended.lines[-1]["summary"]["ok"] == 2


def test_a_batch_groups_what_failed(tool):
    ended = tool("dispatch", "FailCommand", "--batch", "-", "--wait", "NeverEvent", stdin='{"text": "dark"}\n' * 5)

    assert ended.code == 1
    assert "5 sent  0 ok  5 failed" in ended.out
    assert "5 x  " in ended.out
    assert "dark" in ended.out


def test_a_batch_asks_many_at_a_time(tool):
    ended = tool(
        *("dispatch", "SlowCommand", "--batch", "-", "--concurrency", "10", "--wait", "SlowDoneEvent", "--json"),
        stdin='{"seconds": 0}\n' * 30,
    )

    assert ended.lines[-1]["summary"]["ok"] == 30


@pytest.mark.parametrize(
    "arguments",
    [
        ("EchoCommand", "--batch", "-", "--data", "{}"),
        ("EchoCommand", "--batch", "/nowhere"),
        ("EchoCommand", "--batch", "-", "--concurrency", "0"),
        ("EchoCommand", "--batch", "-", "--concurrency", "65"),
        ("EchoCommand", "--concurrency", "2"),
        ("--from", "@last"),
    ],
)
def test_what_makes_no_sense_is_refused(tool, arguments):
    ended = tool("dispatch", *arguments)

    assert ended.code in {1, 2}
    assert any(line.startswith("error ") for line in ended.err.splitlines())


def test_bench_sends_one_message_many_times_and_tells_the_percentiles(tool):
    ended = tool("bench", "CurrentUserRequest", "--id", "7", "--count", "300", "--concurrency", "16", "--json")

    (line,) = ended.lines
    summary = line["summary"]
    assert (ended.code, summary["sent"], summary["ok"]) == (0, 300, 300)
    assert 0 < summary["ms"]["p50"] <= summary["ms"]["p99"]


def test_bench_counts_what_fails_and_ends_like_dispatch(tool):
    failed = tool("bench", "FailCommand", "--count", "5", "--wait", "NeverEvent")
    late = tool(
        "bench", "SlowCommand", "--seconds", "9", "--count", "2", "--wait", "SlowDoneEvent", "--timeout", "100ms"
    )

    assert (failed.code, late.code) == (1, 3)
    assert "5 sent  0 ok  5 failed" in failed.out


@pytest.mark.parametrize("arguments", [(), ("Nope",), ("FailCommand", "--count", "0"), ("FailCommand", "--frob", "1")])
def test_bench_refuses_what_cannot_be_meant(tool, arguments):
    ended = tool("bench", *arguments)

    assert ended.code == 2
    assert any(line.startswith("error ") for line in ended.err.splitlines())
