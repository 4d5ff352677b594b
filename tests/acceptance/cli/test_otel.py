"""The setting `otel`: spans of what runs reach a real receiver, in the trace they belong to, and keep nobody waiting."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, write_shop
from tests.acceptance.live_project import live, make_project

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from tests.otlp_receiver import Receiver, otlp_receiver

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OWN = """
from microlith import Microlith
from microlith.middlewares import OpenTelemetry

app = Microlith("shop", components="shop", middleware=[OpenTelemetry.exporting("own")])
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as one:
        yield one


def switch_on(folder: Path, value: str) -> Path:
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"otel = {value}\n")
    return folder


def test_run_exports_what_it_handles_in_the_trace_that_a_client_names(project, receiver):
    switch_on(project, "true")
    with live(project, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}) as running:
        running.serving()
        ended = Tool(project)(
            *("dispatch", "Say", "--number", "1", "--wait", "SaidEvent", "--header", f"traceparent={TRACE}", "--json"),
        )
        running.printed(f"spans +sent to {receiver.url}")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0

    first = receiver.one("send Say")
    assert (first.service, first.trace_id, first.parent_id) == ("echo", TRACE[3:35], TRACE[36:52])
    assert receiver.parent(receiver.one("process Say")) is first
    assert receiver.parent(receiver.one("send SaidEvent")) is receiver.one("process Say")
    assert ended.lines[-1]["traceparent"] == f"00-{TRACE[3:35]}-{receiver.one('send SaidEvent').span_id}-01"
    assert b"hunter22" not in b"".join(span.raw for span in receiver.spans)


def test_a_reload_loses_no_span(project, receiver):
    switch_on(project, f'"{receiver.url}"')
    with live(project) as running:
        running.serving()
        running.dispatch("Say", {"number": 1}, wait=["SaidEvent"])
        running.save_words("two")
        running.serving(2)
        running.dispatch("Say", {"number": 2}, wait=["SaidEvent"])
        running.signal(signal.SIGTERM)
        assert running.wait() == 0

    assert len(receiver.named("process Say")) == 2


def test_application_that_runs_once_exports_before_it_ends(tmp_path, receiver):
    tool = Tool(switch_on(write_shop(tmp_path / "shop"), f'"{receiver.url}/"'))

    assert tool("dispatch", "EchoCommand", "--wait", "EchoedEvent").code == 0
    assert receiver.parent(receiver.one("process EchoCommand")) is receiver.one("send EchoCommand")

    assert tool("dispatch", "EchoCommand", env={"MICROLITH_OTEL": "false"}).code == 0
    assert tool("list").code == 0
    assert len(receiver.named("send EchoCommand")) == 1


def test_application_that_makes_spans_itself_makes_them_once(tmp_path, receiver):
    folder = switch_on(write_shop(tmp_path / "shop"), "true")
    (folder / "shop/app.py").write_text(OWN, "utf-8")

    assert Tool(folder)("dispatch", "EchoCommand", env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}).code == 0

    assert receiver.one("send EchoCommand").service == "own"


def test_receiver_that_never_answers_keeps_nobody_waiting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        tool = Tool(switch_on(write_shop(tmp_path / "shop"), f'"{url}"'))
        began = time.monotonic()

        ended = tool("dispatch", "EchoCommand", "--wait", "EchoedEvent")

    # Without a limit it would be ten seconds more than the two that are given.
    assert (ended.code, time.monotonic() - began < 11.5) == (0, True)


def test_run_ends_while_its_receiver_never_answers(tmp_path):
    project = switch_on(make_project(tmp_path / "echo"), "true")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with live(project, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as running:
            running.serving()
            running.dispatch("Say", {"number": 1}, wait=["SaidEvent"])
            running.signal(signal.SIGTERM)

            assert running.wait(11) == 0


@pytest.mark.parametrize("value", ["1", '"yes"', '"localhost:4318"', "[]", '"ftp://x"'])
def test_value_that_is_no_switch_and_no_url_is_refused(tmp_path, value):
    ended = Tool(switch_on(write_shop(tmp_path / "shop"), value))("config")

    assert (ended.code, "it is true, false, or the url" in ended.err) == (2, True)


def test_password_of_a_receiver_is_not_shown(tmp_path):
    tool = Tool(switch_on(write_shop(tmp_path / "shop"), '"http://ada:planted@127.0.0.1:9"'))

    shown = [tool("config"), tool("doctor", "--json")]

    assert "planted" not in "".join(one.out + one.err for one in shown)
    assert "http://ada:***@127.0.0.1:9" in shown[0].out
    finding = next(line for line in shown[1].lines if line.get("code") == "ML016")
    assert (finding["level"], "nobody takes them" in finding["what"]) == ("warning", True)
