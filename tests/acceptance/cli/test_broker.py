"""`microlith broker setup`, with a broker in memory in place of a real one; real ones are in tests/contracts."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from microlith_cli.errors import NOT_REACHABLE

CARRIED = """
from microlith.testing.memory_broker import MemoryBroker

broker = MemoryBroker()
app.connects = broker.connect
app.buses = {"command": "memory://here"}
"""


@pytest.fixture
def carried(tool):
    """The shop with its command bus on a broker."""

    def change(more=""):
        path = tool.folder / "shop" / "app.py"
        path.write_text(path.read_text("utf-8") + CARRIED + more, "utf-8")
        return tool

    return change


def test_what_is_missing_is_shown_and_not_made(carried):
    ended = carried()("broker", "setup", "--dry-run")

    assert ended.code == 0
    assert "create  group  shop.commands.auth.login auth.login\n" in ended.out
    assert "things would be made" in ended.err


def test_what_is_missing_is_made_and_told_in_json(carried):
    ended = carried()("broker", "setup", "--json")

    assert {(change["action"], change["what"], change["done"]) for change in ended.lines} == {("create", "group", True)}
    assert f"{len(ended.lines)} things made" in ended.err


def test_broker_that_is_away_is_not_reachable(carried):
    ended = carried("broker.away = True\n")("broker", "setup")

    assert ended.code == NOT_REACHABLE
    assert "cannot be reached" in ended.err


def test_buses_in_memory_need_nothing(tool):
    ended = tool("broker", "setup")

    assert (ended.code, ended.out) == (0, "")
    assert "there is no broker" in ended.err


@pytest.mark.rabbitmq
@pytest.mark.parametrize("columns", [60, 140])
def test_details_are_broken_at_spaces_where_the_terminal_has_no_room(tool, rabbitmq_url, columns):
    buses = {"MICROLITH_COMMAND_BUS": rabbitmq_url, "MICROLITH_EVENT_BUS": rabbitmq_url}
    whole = tool("broker", "setup", "--dry-run", env=buses).out

    drawn = _at_a_terminal(tool, columns, buses)

    lines = drawn.splitlines()
    assert max(map(len, whole.splitlines())) > columns
    assert max(map(len, lines)) <= columns
    assert drawn.split() == whole.split()  # no word is broken, and none is lost
    assert {line[:10].strip() for line in lines} == {"", "create  ex", "create  qu"}


def _at_a_terminal(tool, columns, buses):
    command = [sys.executable, "-m", "microlith_cli", "broker", "setup", "--dry-run"]
    environment = {**os.environ, **buses, "COLUMNS": str(columns)}
    screen, drawn = pty.openpty()
    shown = b""
    with subprocess.Popen(command, cwd=tool.folder, env=environment, stdout=drawn, stderr=subprocess.DEVNULL) as ran:
        os.close(drawn)
        with suppress(OSError), os.fdopen(screen, "rb", buffering=0) as file:  # an error is the end of a terminal
            while part := file.read(4096):
                shown += part
        assert ran.wait(60) == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.rabbitmq
def test_nothing_is_missing_once_it_was_made_though_queries_have_a_queue_only_while_somebody_answers(
    tool, rabbitmq_url
):
    buses = {f"MICROLITH_{bus}_BUS": rabbitmq_url for bus in ("COMMAND", "QUERY", "EVENT")}

    made, looked = tool("broker", "setup", env=buses), tool("broker", "setup", "--dry-run", env=buses)

    assert "shop.queries " in made.out
    assert (made.code, looked.code, looked.out) == (0, 0, "nothing is missing\n")
