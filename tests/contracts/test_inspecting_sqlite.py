"""Looking into a store that is not open."""

import sqlite3

import pytest

from microlith.errors import CorruptionError, StoreLockedError
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.event_store.sqlite.connection import StoreFormatError
from microlith.event_store.sqlite.inspecting import SQLiteInspection, StoreUnreadableError
from microlith.serialization import MessageTypes
from microlith.testing.event_store_contract.stock import StoreUnderTest


def ignored(done: int, total: int) -> None:
    pass


@pytest.fixture
async def path(tmp_path):
    """A store of three events, closed."""
    path = tmp_path / "events.db"
    stock = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    await stock.store.open()
    await stock.store_items("a", "b", "c")
    await stock.store.close()
    return path


async def test_what_there_is_is_told_and_nothing_changed(path):
    before = path.read_bytes()

    with SQLiteInspection(path) as inspection:
        told = (inspection.head, inspection.projections, inspection.dead_letters)
        verified = inspection.verify(MessageTypes(), ignored)

    assert (told, verified) == ((2, [], 0), 3)
    assert path.read_bytes() == before


async def test_nobody_can_open_it_meanwhile_and_anybody_afterwards(path):
    stock = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    with SQLiteInspection(path), pytest.raises(StoreLockedError):
        await stock.store.open()

    await stock.store.open()
    with pytest.raises(StoreLockedError):
        SQLiteInspection(path)
    await stock.store.close()


async def test_damage_is_found_with_its_position(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET data = x'7b7d' WHERE position = 1")
    connection.close()

    with SQLiteInspection(path) as inspection, pytest.raises(CorruptionError, match="position 1"):
        inspection.verify(MessageTypes(), ignored)


def test_an_empty_file_is_an_empty_store(tmp_path):
    (tmp_path / "events.db").touch()

    with SQLiteInspection(tmp_path / "events.db") as inspection:
        assert (inspection.head, inspection.verify(MessageTypes(), ignored)) == (-1, 0)


def test_a_file_of_something_else_is_refused_and_let_go(tmp_path):
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()

    for _ in range(2):  # the second time too: the lock was let go
        with pytest.raises(StoreFormatError):
            SQLiteInspection(path)


def test_a_file_that_is_no_database_is_damage(tmp_path):
    path = tmp_path / "events.db"
    path.write_text("planted" * 1000)

    with pytest.raises(CorruptionError):
        SQLiteInspection(path)


def test_a_database_that_lacks_a_table_cannot_be_read(tmp_path):
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (name, value)")
        connection.execute("INSERT INTO meta VALUES ('schema', '1')")
    connection.close()

    with pytest.raises(StoreUnreadableError, match="no such table: events"):
        SQLiteInspection(path)
