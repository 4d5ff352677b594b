"""Schedules in a file: a database of before there were any, a damaged row, a message that fits no class any more."""

import sqlite3

import pytest

from microlith.context import correlated
from microlith.errors import CorruptionError, UnknownTypeError
from microlith.event_store.protocol import TimedUnit
from microlith.event_store.schedule import Scheduling
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.messages import Event
from microlith.testing.event_store_contract.scheduling import NOON, change, later, take
from microlith.testing.event_store_contract.stock import ItemStored, StoreUnderTest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.db"


@pytest.fixture
async def stock(path):
    stock = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    await stock.store.open()
    yield stock
    await stock.store.close()


def run(path, text):
    """Change a database behind the store's back."""
    database = sqlite3.connect(path)
    with database:
        database.execute(text)
    database.close()


async def test_database_of_before_there_were_schedules_is_opened_and_takes_them(path, stock):
    await stock.store_items("nut")
    await stock.store.close()
    run(path, "DROP TABLE scheduled")

    await stock.reopen()
    await change(stock, later("bolt"))

    assert len(await stock.whole_log()) == 1
    assert len(await stock.store.schedules()) == 1


async def test_damaged_schedule_says_so_and_the_others_are_read(path, stock):
    await change(stock, later("nut"), later("bolt", NOON + 1))

    run(path, "UPDATE scheduled SET data = CAST(replace(data, 'nut', 'nit') AS BLOB) WHERE sequence = 1")

    damaged, sound = await stock.store.due_schedules(NOON + 1, NOON + 1)
    with pytest.raises(CorruptionError, match=f"schedule {damaged.message_id}"):
        _ = damaged.envelope
    assert sound.envelope.message.item == "bolt"


async def test_moved_due_moment_is_noticed(path, stock):
    await change(stock, later("nut"))

    run(path, "UPDATE scheduled SET head = json_set(head, '$[1]', 0)")

    (early,) = await stock.store.due_schedules(0, 0)
    with pytest.raises(CorruptionError):
        _ = early.envelope


async def test_schedule_whose_type_is_gone_is_listed_and_cancelled(path, stock):
    class ItemPainted(Event):
        item: str

    stock.types.add(ItemPainted, "stock")
    await stock.reopen()
    await stock.complete(TimedUnit([], changes=[Scheduling(correlated(ItemPainted(item="nut")), NOON)]))
    await stock.store.close()
    fresh = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    await fresh.store.open()
    try:
        (kept,) = await fresh.store.schedules()

        assert (kept.component, kept.type, kept.data) == ("stock", "ItemPainted", b'{"item":"nut"}')
        with pytest.raises(UnknownTypeError, match="ItemPainted"):
            _ = kept.envelope
        assert await fresh.store.cancel_schedule(kept.message_id)
    finally:
        await fresh.store.close()


async def test_taken_message_that_was_sent_before_in_the_same_commit_is_written_once(stock):
    nut = later("nut")
    await change(stock, nut)
    (schedule,) = await stock.store.schedules()

    unit = TimedUnit([correlated(ItemStored(item="bolt")), schedule.envelope, nut.envelope], takes=schedule.message_id)
    committed = await stock.complete(unit)

    assert len(committed.events) == 2
    assert len((await take(stock, schedule)).events) == 0
