"""`microlith trace`: what was dispatched is found again, by every name it has and in every shape."""

import json
import os
import pty
import re
import subprocess
import time

import pytest

from tests.acceptance.cli.shop import Tool, environment, start_run, stop, write_shop
from tests.hostile import TEXTS, unsafe_in

LOGIN = ("dispatch", "LoginCommand", "--email", "ada@example.org", "--sid", "s1", "--password", "right")


def dispatched(tool, *arguments):
    """Dispatch, wait until all is told, and return the correlation id."""
    accepted = tool(*arguments, "--json")
    (line,) = (line for line in accepted.lines if "correlationid" in line)
    return str(line["correlationid"])


def traced(tool, *arguments, until):
    """Trace until the log holds what is waited for: it is written some milliseconds after the fact."""
    deadline = time.monotonic() + 10
    while True:
        ended = tool("trace", *arguments)
        if until in ended.out or time.monotonic() > deadline:
            return ended


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The tool in a project where nothing runs and three messages were sent: two logins and, last, one that failed."""
    tool = Tool(write_shop(tmp_path_factory.mktemp("told") / "shop"))
    for _ in range(2):
        dispatched(tool, *LOGIN, "--wait", "GreetedEvent")
    tool("dispatch", "FailCommand", "--wait", "NeverEvent")
    return tool


def test_tree_shows_what_one_message_caused(either):
    correlation = dispatched(either, *LOGIN, "--wait", "GreetedEvent")

    ended = traced(either, correlation, until="GreetedEvent")

    assert ended.code == 0
    shown = [line.split("✓")[0].rstrip() for line in ended.out.splitlines() if re.search("[►◇]", line)]
    assert shown == [
        "► LoginCommand → auth.login",
        "└╌◇ UserLoggedInEvent → auth.greet",
        "  └╌◇ GreetedEvent  no handler",
    ]
    assert "email=ada@example.org password=*** sid=s1" in ended.out


@pytest.mark.parametrize("typed", ["whole", "short", "prefix of short", "@-2"])
def test_correlation_is_found_by_every_name_it_has(told, typed):
    _, login, _ = (line["correlationid"] for line in told("trace", "--json").lines)
    names = {"whole": login, "short": login[-8:], "prefix of short": login[-8:-1]}

    ended = told("trace", names.get(typed, typed))

    assert (ended.code, login[-8:] in ended.out) == (0, True)


def test_failure_is_found_and_says_why_and_where(either):
    either("dispatch", "FailCommand", "--text", "the cellar is dark", "--wait", "NeverEvent")

    ended = traced(either, "@failed", until="the cellar is dark")

    assert ended.code == 0
    assert "► FailCommand → auth.fail" in ended.out
    assert "ValueError: the cellar is dark" in ended.out
    assert re.search(r"shop/auth/handlers/all\.py:\d+", ended.out)


def test_list_shows_the_newest_first(told):
    head, first, second, _ = told("trace").out.splitlines()

    assert head.split()[:3] == ["id", "when", "messages"]
    assert re.match(r"✗ \w{8} +\d+[sm] ago +1 .*► FailCommand +auth.fail ValueError", first)
    assert re.match(r"✓ \w{8} +\d+[sm] ago +3 .*► LoginCommand", second)


def test_list_is_limited_and_filtered(told):
    limited = told("trace", "--limit", "2").out.splitlines()
    logins = told("trace", "--filter", "bus:command data.sid=s1 status:ok").out.splitlines()
    failed = told("trace", "--filter", "status:failed").out.splitlines()

    assert [len(lines) for lines in (limited, logins, failed)] == [3, 3, 2]
    assert all("LoginCommand" in line for line in logins[1:])


def test_json_is_cloud_events(told):
    _, listed, _ = told("trace", "--format", "json").lines
    facts = told("trace", "@-2", "--json").lines

    assert {fact["type"] for fact in facts} == {
        "LoginCommand",
        "UserLoggedInEvent",
        "GreetedEvent",
        "microlith.handled",
    }
    assert all(fact["specversion"] == "1.0" and fact["correlationid"] == listed["correlationid"] for fact in facts)
    assert (listed["type"], listed["outcome"], listed["messages"], listed["failures"]) == ("LoginCommand", "ok", 3, 0)
    assert all(name.isalnum() and name.islower() for name in listed)


def test_lines_are_one_fact_each_and_may_be_filtered(told):
    every = told("trace", "@-2", "--format", "lines").out.splitlines()
    events = told("trace", "@-2", "--format", "lines", "--filter", "bus:event -status:ok").out.splitlines()
    newest = told("trace", "--format", "lines", "--limit", "1").out.splitlines()

    assert [line.split()[2] for line in every if line.split()[2] != "ok"] == ["command", "event", "event"]
    assert [line.split()[3] for line in events] == ["UserLoggedInEvent", "GreetedEvent"]
    assert newest[0].split()[2:5] == ["failed", "auth.fail", "FailCommand"]


def test_mermaid_is_a_sequence_diagram(told):
    ended = told("trace", "@-2", "--format", "mermaid")

    assert ended.out.startswith("sequenceDiagram\n    participant p0 as outside\n")
    assert re.search(r"p0->>p1: LoginCommand \(\d", ended.out)


@pytest.mark.parametrize("typed", ["zzzzzzzz", "@-9"])
def test_nothing_found_is_exit_code_1_and_says_where_it_looked(told, typed):
    ended = told("trace", typed)
    in_json = told("trace", typed, "--json")

    assert (ended.code, ended.out) == (1, "")
    assert "trace.jsonl" in ended.err
    assert (in_json.code, in_json.lines[0]["exit"]) == (1, 1)


@pytest.mark.parametrize("arguments", [(), ("@last",), ("--filter", "status:failed")])
def test_nothing_traced_yet_is_exit_code_1(tool, arguments):
    ended = tool("trace", *arguments)

    assert (ended.code, ended.out) == (1, "")
    assert "Nothing is traced yet" in ended.err
    assert "microlith run" in ended.err


def test_nothing_that_fits_is_exit_code_1(told):
    ended = told("trace", "--filter", "type:Nobody*")

    assert (ended.code, ended.out) == (1, "")
    assert "'type:Nobody*'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--filter", "typ:x"), "Did you mean 'type'?"),
        (("--format", "mermaid"), "@last"),
        (("@last", "--filter", "bus:event"), "--format lines"),
        (("--format", "svg"), "svg"),
        (("--limit", "0"), "0"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(told, arguments, said):
    ended = told("trace", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_following_nothing_is_exit_code_4_with_a_hint(tool):
    ended = tool("trace", "--follow")

    assert (ended.code, ended.out) == (4, "")
    assert "microlith run" in ended.err


@pytest.fixture
def beside():
    """Start the tool beside the test; no process outlives it."""
    started = []

    def start(tool, *arguments):
        process = tool.start(*arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def following(beside, tool, *arguments):
    """Start to follow; returns once facts come through to another who began later."""
    process = beside(tool, "trace", "--follow", *arguments)
    other = beside(tool, "trace", "--follow", "--limit", "1", "--json")
    deadline = time.monotonic() + 20
    while other.poll() is None:
        assert time.monotonic() < deadline
        tool("dispatch", "EchoCommand", "--attach")
    return process


def test_following_shows_what_fits_until_the_limit(attached, beside):
    process = following(beside, attached, "--filter", "type:LoginCommand", "--limit", "2", "--json")
    correlation = dispatched(attached, *LOGIN, "--wait", "GreetedEvent")

    out, _ = process.communicate(timeout=20)

    facts = [json.loads(line) for line in out.splitlines()]
    assert [fact["type"] for fact in facts] == ["LoginCommand", "microlith.handled"]
    assert {fact["correlationid"] for fact in facts} == {correlation}
    assert process.returncode == 0


@pytest.mark.timeout(120)
def test_following_one_correlation_shows_no_other(attached, beside):
    correlation, process = "", beside(attached, "--version")
    for seconds in (2, 8, 30):  # on a busy machine, the handler may be done before anybody follows
        correlation = dispatched(attached, "dispatch", "SlowCommand", "--seconds", str(seconds))
        traced(attached, correlation, until="SlowCommand")
        process = beside(attached, "trace", correlation, "--follow", "--limit", "2", "--format", "lines")
        deadline = time.monotonic() + seconds + 2
        while process.poll() is None and time.monotonic() < deadline:
            dispatched(attached, "dispatch", "EchoCommand")
        if process.poll() is not None:
            break
        process.kill()

    out, _ = process.communicate(timeout=20)

    assert {line.split()[1] for line in out.splitlines()} == {correlation[-8:]}
    assert [line.split()[3] for line in out.splitlines()] in (
        ["SlowDoneEvent", "auth.slow"],
        ["auth.slow", "SlowDoneEvent"],
    )


def test_following_ends_with_the_microlith(tool, beside):
    serving = start_run(tool.folder)
    process = following(beside, tool, "--format", "lines")

    stop(serving)

    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "the microlith has ended" in said


def test_following_in_a_terminal_draws_live_lines(attached):
    reader, writer = pty.openpty()
    command = [*Tool.command, "trace", "--follow", "--filter", "component:auth", "--limit", "40"]
    with subprocess.Popen(command, cwd=attached.folder, stdout=writer, env=environment()) as process:
        os.close(writer)
        while process.poll() is None:
            attached(*LOGIN, "--wait", "GreetedEvent")
        shown = b""
        try:
            while part := os.read(reader, 65536):
                shown += part
        except OSError:  # how a terminal says that it is over
            pass
    os.close(reader)

    lines = shown.decode().splitlines()
    assert len(lines) == 40
    assert any(re.fullmatch(r"\S+ \w{8} │ ✓ auth\.login  .*", line) for line in lines)
    assert any(re.fullmatch(r"\S+ \w{8} │ │ ◇ GreetedEvent.*", line) for line in lines)


@pytest.mark.parametrize("form", ["tree", "lines", "mermaid", "json"])
def test_hostile_payload_is_shown_harmlessly(attached, form):
    texts = [text for name, text in TEXTS.items() if name not in {"lone surrogates", "long", "long words"}]
    data = json.dumps({"text": "".join(texts), "tags": texts})
    correlation = dispatched(attached, "dispatch", "EchoCommand", "--data", data, "--wait", "EchoedEvent")
    traced(attached, correlation, until="EchoedEvent")

    ended = attached("--color", "always", "trace", correlation, "--format", form)

    assert ended.code == 0
    assert not unsafe_in(ended.out)
    if form == "json":
        assert ended.lines[0]["data"]["tags"] == texts


def test_trace_imports_neither_the_users_code_nor_what_is_heavy(told):

    ended = subprocess.run(
        [Tool.command[0], "-X", "importtime", *Tool.command[1:], "trace", "@-2"],
        cwd=told.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "► LoginCommand" in ended.stdout
    assert not imported & {"pydantic", "pydantic_core", "asyncio", "rich", "sqlite3", "watchfiles", "shop"}
