"""Databases that earlier versions wrote: they open, with everything in them, and get what they lack.

`stored/first.db` was written before there were snapshots and keys: three items in the log, one in a stream of its own,
a dead event, a dead command, and a command that waits.
"""

import shutil
from pathlib import Path

import pytest

from microlith.event_store.protocol import Settlement
from microlith.event_store.snapshot import Snapshot
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.event_store.sqlite.inspecting import SQLiteInspection
from microlith.testing.event_store_contract.stock import CountStock, StoreUnderTest

FIRST = Path(__file__).parent / "stored" / "first.db"


@pytest.fixture
def path(tmp_path):
    return shutil.copy(FIRST, tmp_path / "events.db")


@pytest.fixture
async def stock(path):
    stock = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    await stock.store.open()
    yield stock
    await stock.store.close()


async def test_the_first_format_keeps_its_events_commands_and_dead_letters(stock):
    events = await stock.whole_log()
    (pending,) = await stock.store.pending_commands()
    letters = await stock.store.dead_letters()

    assert [event.message.item for event in events] == ["nut", "bolt", "screw", "nail"]
    assert pending.envelope.message == CountStock()
    assert [(one.handler, one.type, one.attempts) for one in letters] == [
        ("stock.count", "ItemStored", 5),
        ("stock.weigh", "CountStock", 3),
    ]
    assert await stock.store.verify() == 4


async def test_the_first_format_gets_snapshots(stock):
    one = Snapshot.of("shelf-1", "Shelf", 0, "f00d", b"{}")
    stock.store.keep_snapshot(one)
    await stock.reopen()

    assert await stock.store.snapshot("shelf-1", "Shelf") == one
    assert await stock.store.check_snapshots() == (1, [])


def test_the_first_format_is_looked_into_without_a_change(path):
    before = Path(path).read_bytes()

    with SQLiteInspection(path) as inspection:
        found = inspection.head, inspection.dead_letters, inspection.check_snapshots()

    assert found == (3, 2, (0, []))
    assert Path(path).read_bytes() == before


async def test_the_letters_of_the_first_format_have_no_key_and_later_ones_may(stock):
    first, second = await stock.store.dead_letters()
    command = (await stock.store.pending_commands())[0].envelope
    stock.store.settle(Settlement("stock.count", command, error="it broke", key="a"))
    parked = await stock.pending_command()
    stock.store.settle(Settlement("stock.count", parked, error="parked", key="a", parked=True))
    await stock.reopen()

    letters = await stock.store.dead_letters()

    assert [(one.key, one.behind) for one in (first, second)] == [(None, None), (None, None)]
    assert [(one.key, one.behind) for one in letters[2:]] == [("a", None), ("a", letters[2].sequence)]
    assert await stock.store.drop_dead_letter(first.sequence)
