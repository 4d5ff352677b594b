"""`microlith broker setup`, with a broker in memory in place of a real one; real ones are in tests/contracts."""

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
