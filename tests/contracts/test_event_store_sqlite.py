"""What only a store in a file can do: be owned, be damaged, be full of an older version's rows."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys

import pytest

from microlith.errors import (
    CorruptionError,
    StoreLockedError,
    StoreUnavailableError,
)
from microlith.event_store.sqlite import SQLiteEventStore, connection
from microlith.event_store.sqlite.connection import StoreFormatError
from microlith.testing.event_store_contract.stock import (
    ITEMS,
    StockProjection,
    StoreUnderTest,
)
from tests.contracts.database_contract import DatabaseContract, with_bytes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "private" / "events.db"


@pytest.fixture
async def stock(path):
    stock = StoreUnderTest(lambda types: SQLiteEventStore(path, types))
    await stock.store.open()
    yield stock
    await stock.store.close()


def change(path, text, *values):
    """Change a database behind the store's back."""
    database = sqlite3.connect(path)
    with database:
        database.execute(text, values)
    database.close()


class TestSQLiteDatabase(DatabaseContract):
    @pytest.fixture
    def make(self, path):
        return lambda types: SQLiteEventStore(path, types)

    @pytest.fixture
    def ask(self, path):
        def run(text):
            database = sqlite3.connect(path)
            with database:
                rows = database.execute(with_bytes(text, "x'", "'")).fetchall()
            database.close()
            return rows

        return run


OWNER = """
import asyncio, sys
from pathlib import Path
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.serialization import MessageTypes

async def hold():
    await SQLiteEventStore(Path(sys.argv[1]), MessageTypes()).open()
    print("open", flush=True)
    await asyncio.sleep(60)

asyncio.run(hold())
"""


@pytest.fixture
def owner(path):
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


async def test_second_owner_is_refused_and_touches_nothing(path, owner):
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    second = StoreUnderTest(lambda types: SQLiteEventStore(path, types))

    with pytest.raises(StoreLockedError, match=f"process {owner.pid}, started 20"):
        await second.store.open()

    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


async def test_second_store_in_one_process_is_refused(path, stock):
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        await SQLiteEventStore(path, stock.types).open()


async def test_store_is_free_when_its_owner_was_killed(path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    heir = StoreUnderTest(lambda types: SQLiteEventStore(path, types))

    await heir.store.open()
    await heir.store_items("nut")
    await heir.store.close()


PARENT = OWNER.replace(
    'print("open", flush=True)',
    """import os
    if os.fork() == 0:
        print(os.getpid(), flush=True)""",
)


@pytest.fixture
def orphan(path):
    """The child of an owner that was killed: it was forked while the store was open."""
    command = [sys.executable, "-W", "ignore", "-c", PARENT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    yield child
    os.kill(child, signal.SIGKILL)


async def test_store_is_free_when_a_forked_child_outlives_its_owner(path, orphan):
    heir = StoreUnderTest(lambda types: SQLiteEventStore(path, types))

    await heir.store.open()
    await heir.store_items("nut")
    await heir.store.close()


FORKER = """
import asyncio, os, sys
from pathlib import Path
from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.event_store.database.reading import ForkedError
from microlith.serialization import MessageTypes
from microlith.testing.event_store_contract.stock import ItemStored

async def fork():
    types = MessageTypes()
    types.add(ItemStored, "stock")
    store = SQLiteEventStore(Path(sys.argv[1]), types)
    await store.open()
    pid = os.fork()
    if pid == 0:
        refused = 0
        for use in (lambda: store.record(correlated(ItemStored(item="nut")), print), lambda: store._readers.run("")):
            try:
                use()
            except ForkedError:
                refused += 1
        os._exit(refused)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

asyncio.run(fork())
"""


def test_store_is_refused_in_a_forked_process(path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKER, str(path)], check=False, timeout=30)

    assert done.returncode == 2, "both a write and a read are refused"


async def test_files_are_for_their_owner_alone(path, stock):
    await stock.store_items("nut")

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(modes) == {"events.db", "events.db-wal", "events.db-shm", "events.db.lock", "events.db.mark"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("content", [b"This is no database, but it is longer than a header." * 100, None])
async def test_file_of_something_else_is_left_alone(path, content):
    path.parent.mkdir()
    if content is None:
        change(path, "CREATE TABLE photos (name TEXT)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()

    with pytest.raises(StoreFormatError):
        await StoreUnderTest(lambda types: SQLiteEventStore(path, types)).store.open()

    assert path.read_bytes() == before


async def test_log_without_its_newest_commits_is_refused_until_the_mark_is_deleted(path, stock):
    await stock.store_items("nut")
    await stock.store.close()
    old = path.read_bytes()
    await stock.reopen()
    await stock.store_items("bolt")
    await stock.store.close()
    path.write_bytes(old)

    with pytest.raises(CorruptionError, match=r"delete events\.db\.mark"):
        await stock.reopen()
    path.with_name("events.db.mark").unlink()
    await stock.reopen()

    assert len(await stock.whole_log()) == 1


async def test_deleted_database_is_begun_anew(path, stock):
    await stock.store_items("nut")
    await stock.store.close()
    path.unlink()

    await stock.reopen()

    assert await stock.whole_log() == []


async def test_database_locked_by_another_program_is_a_definite_failure(path, stock, monkeypatch):
    await stock.store.close()
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    await stock.reopen(StockProjection())
    first = await stock.store_items("nut")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="another program"):
        await stock.store_items("bolt")
    stock.settle("stock.count", first[0], checkpoint=0)
    with pytest.raises(StoreUnavailableError, match="another program"):
        await stock.store.flush()
    assert len(await stock.whole_log()) == 1
    other.execute("ROLLBACK")
    other.close()

    await stock.store_items("screw")
    assert [event.position for event in await stock.whole_log()] == [0, 1]
    assert await stock.store.checkpoint("stock.count", start=-1) == (0, frozenset())
    assert stock.store.rows.count(ITEMS, {}) == 2
