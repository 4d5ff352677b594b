"""`microlith run --once`: carries on what was left, ends when nothing is left to do, and says how it went."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import environment
from tests.acceptance.live_project import Attached, NotThereError, live, until, workers_of

pytestmark = pytest.mark.timeout(120)

MORE = '''
import os
from pathlib import Path

from echo.desk import desk
from microlith import Command, Event, ReadModel, Table


class Crash(Command):
    """Ends the process: the first time, or always."""

    mark: str = ""
    fails: bool = False


class CrashedEvent(Event):
    pass


class Count(ReadModel, key="name"):
    name: str


@desk.handles(Crash)
async def crash(command: Crash) -> CrashedEvent:
    if not command.mark or not Path(command.mark).exists():
        if command.mark:
            Path(command.mark).touch()
        os._exit(7)
    if command.fails:
        raise ValueError("no luck")
    return CrashedEvent()
'''
BROKEN_PROJECTION = """
from echo.desk import desk
from echo.desk.commands.messages import DiedEvent
from microlith import ReadModel, Table


class Died(ReadModel, key="name"):
    name: str


died = desk.projection("died", Died, inline=False)


@died.on(DiedEvent)
def count(event: DiedEvent, table: Table[Died]) -> None:
    raise ValueError("no room")
"""


@pytest.fixture
def project(project: Path) -> Path:
    (project / "echo/desk/handlers/crash.py").write_text(MORE, "utf-8")
    return project


def tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "microlith_cli", *arguments],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def leave_behind(root: Path, *arguments: str) -> None:
    """Have a message accepted by a process that dies of it."""
    assert tool(root, "dispatch", "Crash", *arguments, "--once").returncode == 7


def finish(root: Path) -> tuple[int, list[dict]]:
    ended = tool(root, "run", "--once", "--json")
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


def told(lines: list[dict]) -> dict:
    assert lines[-1]["type"] == "microlith.idle"
    data: dict = lines[-1]["data"]
    return data


def test_with_nothing_to_do_it_ends_at_once_and_well(project):
    code, lines = finish(project)

    assert (code, told(lines)) == (0, {"failed": 0, "stopped": []})
    assert workers_of(project) == set()


def test_what_a_dead_process_left_is_finished_once(project, tmp_path):
    leave_behind(project, "--mark", str(tmp_path / "mark"))

    first, second = finish(project), finish(project)

    handled = [line for line in first[1] if line.get("type") == "microlith.handled"]
    assert [(line["data"]["message"], line["data"]["outcome"]) for line in handled] == [("Crash", "ok")]
    assert (first[0], second[0]) == (0, 0)
    assert [line["type"] for line in second[1] if "type" in line] == ["microlith.idle"]


def test_message_that_fails_for_good_ends_it_with_1(project, tmp_path):
    leave_behind(project, "--mark", str(tmp_path / "mark"), "--fails")

    ended = tool(project, "run", "--once")

    assert ended.returncode == 1
    assert "idle  nothing is left to do; 1 message failed" in ended.stdout
    assert "`microlith dead-letters list`" in ended.stderr
    assert finish(project)[0] == 0


def test_message_that_ends_every_process_is_given_up_and_counted(project):
    leave_behind(project)

    code, lines = finish(project)

    assert (code, told(lines)["failed"]) == (1, 1)
    assert finish(project)[0] == 0


def test_what_is_due_is_sent_and_what_is_not_is_left(project):
    assert tool(project, "dispatch", "Say", "--number", "1", "--after", "1ms", "--once").returncode == 0
    assert tool(project, "dispatch", "Say", "--number", "2", "--after", "1h", "--once").returncode == 0

    code, lines = finish(project)

    assert (code, [line["data"]["number"] for line in lines if line.get("type") == "SaidEvent"]) in ((0, [1]), (0, []))
    assert "SaidEvent" in tool(project, "events", "list").stdout
    assert tool(project, "schedules", "list").stdout.count("Say") == 1


def test_projection_that_has_stopped_is_named_and_ends_it_with_1(project, tmp_path):
    (project / "echo/desk/projections/died.py").write_text(BROKEN_PROJECTION, "utf-8")
    (tmp_path / "mark").touch()
    tool(project, "dispatch", "Die", "--once", "--data", json.dumps({"once": str(tmp_path / "mark")}))

    code, lines = finish(project)

    assert (code, told(lines)) == (1, {"failed": 0, "stopped": ["desk.died"]})


def test_code_that_does_not_import_ends_it_with_1(project):
    (project / "echo/desk/words.py").write_text("WORDS = (\n", "utf-8")

    code, lines = finish(project)

    assert (code, lines[-1]["error"]["file"]) == (1, "echo/desk/words.py")


def test_clients_are_served_as_long_as_there_is_something_to_do(project):
    with live(project, "--once") as running:
        answer = until(lambda: slept(running), "nobody could attach")

        assert answer[-1]["exit"] == 0
        assert running.wait() == 0


def slept(running: Attached) -> list[dict] | None:
    """Send something that takes a moment, before the run has found out that there is nothing to do."""
    try:
        return running.dispatch("Sleep", {"seconds": 0.3}, wait=["SleptEvent"], timeout=20)
    except NotThereError:
        return None


def test_signal_lets_what_is_under_way_finish(project):
    with live(project) as running:
        running.serving()
        running.dispatch("Sleep", {"seconds": 1.5})
        running.process.kill()
    until(lambda: not workers_of(project), "the worker outlives its supervisor")

    with live(project, "--once") as once:
        once.printed("sleeping")
        began = time.monotonic()
        once.signal(signal.SIGTERM)

        assert once.wait() == 0
        assert time.monotonic() - began > 0.5
    assert "SleptEvent" in tool(project, "events", "list").stdout
