"""Headers from the command line: what an application needs to know who sends, and where a trace comes from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, environment, start_run_of, stop, write_shop

APP = """
from microlith import Microlith
from microlith.middleware import Middleware
from microlith.middlewares import Authorisation

TOKENS = {"Bearer planted-token": "user-7"}


class Tokens(Middleware):
    '''Finds out who somebody is by the token they show, and keeps the token nowhere.'''

    def dispatching(self, envelope):
        headers = dict(envelope.headers or {})
        token = headers.pop("authorization", None)
        if token is None:
            return envelope
        return envelope.with_headers({**headers, "principal": TOKENS.get(token, "")})


def allowed(envelope, principal):
    return principal in {"user-7", "user-8"}


app = Microlith("shop", components="shop", middleware=[Tokens(), Authorisation(allowed)])
"""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AS_USER = ("--header", "principal=user-8")


def write_guarded(folder: Path) -> Path:
    write_shop(folder)
    (folder / "shop" / "app.py").write_text(APP, "utf-8")
    return folder


@pytest.fixture(scope="module", params=["attached", "once"])
def guarded(request, tmp_path_factory):
    folder = write_guarded(tmp_path_factory.mktemp("guarded") / "shop")
    process = start_run_of(folder, "CurrentUserRequest", "--id", "7", *AS_USER) if request.param == "attached" else None
    yield Tool(folder)
    if process is not None:
        stop(process)


def headers_of(tool: Tool, type_name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(tool("events", "list", "--type", type_name, "--json").lines[-1]["headers"])
    return found


def test_application_that_asks_who_sends_is_used_as_a_user(guarded):
    nobody = guarded("dispatch", "EchoCommand", "--wait", "EchoedEvent")
    somebody = guarded("dispatch", "EchoCommand", "--wait", "EchoedEvent", *AS_USER)

    assert (nobody.code, somebody.code) == (1, 0)
    assert "--header principal=ID" in nobody.err
    assert headers_of(guarded, "EchoedEvent") == {"principal": "user-8"}


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_token_comes_from_a_file_or_stdin_and_is_seen_nowhere(guarded, tmp_path, source):
    (tmp_path / "token").write_text("Bearer planted-token\n", "utf-8")
    value = "-" if source == "stdin" else f"@{tmp_path / 'token'}"

    ended = guarded(
        *("-v", "dispatch", "EchoCommand", "--wait", "EchoedEvent", "--header", f"authorization={value}"),
        stdin="Bearer planted-token\n" if source == "stdin" else "",
    )
    shown = [guarded("events", "list", "--reveal", "--json"), guarded("trace", "--json"), guarded("trace", "@last")]

    assert ended.code == 0, ended.err
    assert headers_of(guarded, "EchoedEvent") == {"principal": "user-7"}
    assert not [one for one in (ended, *shown) if "planted-token" in one.out + one.err]


def test_secret_header_that_the_application_keeps_is_masked(guarded):
    ended = guarded("dispatch", "EchoCommand", "--wait", "EchoedEvent", *AS_USER, "--header", "x-api-key=planted-key")

    assert ended.code == 0
    assert ended.err.startswith("x-api-key stands in the arguments")
    for words in (("events", "list", "--json"), ("events", "show", "@last"), ("trace", "@last", "--json")):
        shown = guarded(*words)
        assert (shown.code, "planted-key" in shown.out) == (0, False)


def test_bench_batches_and_copies_are_sent_with_their_headers(guarded):
    bench = guarded("bench", "EchoCommand", "--count", "3", *AS_USER, "--json")
    batch = guarded("dispatch", "EchoCommand", "--batch", "-", *AS_USER, "--json", stdin='{"count": 1}\n{"count": 2}\n')
    sent = next(line for line in guarded("trace", "--json").lines if line["type"] == "EchoCommand")
    copy = guarded("replay", "message", sent["id"], "--yes", *AS_USER, "--json")

    assert bench.lines[-1]["summary"]["ok"] == 3
    assert batch.lines[-1]["summary"]["ok"] == 2
    assert (copy.code, copy.lines[0]["type"]) == (0, "EchoCommand")
    assert guarded("replay", "message", sent["id"], "--yes").code == 1


def test_context_of_a_trace_goes_in_and_comes_out(guarded):
    context = ("--header", f"traceparent={TRACE}", "--header", "tracestate=vendor=1")

    ended = guarded("dispatch", "EchoCommand", *AS_USER, *context, "--json")

    assert (ended.lines[0]["traceparent"], ended.lines[0]["tracestate"]) == (TRACE, "vendor=1")
    assert "traceparent" not in guarded("dispatch", "EchoCommand", *AS_USER, "--json").lines[0]


def test_stdin_cannot_be_payload_and_header_at_a_time(guarded):
    ended = guarded("dispatch", "EchoCommand", "--data", "-", "--header", "authorization=-", stdin="{}")

    assert (ended.code, "stdin is read once" in ended.err) == (2, True)


def test_secret_that_comes_by_stdin_is_in_nobodys_arguments(tmp_path):
    folder = write_guarded(tmp_path / "shop")
    command = [sys.executable, "-m", "microlith_cli", "dispatch", "SlowCommand", "--seconds", "1", "--once"]
    command += ["--wait", "SlowDoneEvent", "--header", "authorization=-"]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"Bearer planted-token\n")
        process.stdin.flush()
        line = b""
        while b"accepted" not in line:
            line = process.stderr.readline()
            assert line
        assert b"planted" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"planted" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
