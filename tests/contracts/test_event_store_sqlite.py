"""What only a store in a file can do: be owned, be damaged, be full of an older version's rows."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import (
    CorruptionError,
    StoreLockedError,
    StoreUnavailableError,
    UnsafePayloadError,
)
from microlith.event_store.database import store, writer
from microlith.event_store.database.store import StoreBusyError
from microlith.event_store.protocol import Settlement, Unit
from microlith.event_store.records import StreamNameError
from microlith.event_store.sqlite import SQLiteEventStore, connection
from microlith.event_store.sqlite.connection import StoreFormatError
from microlith.messages import Event
from microlith.testing.event_store_contract.stock import (
    ITEMS,
    CountStock,
    ItemStored,
    StockProjection,
    StoreUnderTest,
    all_facts,
)
from tests.eventually import eventually


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


async def store_each(stock, *items):
    """Write each item in a commit of its own, so that damage is not at the end of the log."""
    for item in items:
        await stock.store_items(item)


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


async def test_newer_format_is_refused(path, stock):
    await stock.store.close()
    change(path, "UPDATE meta SET value = '2' WHERE name = 'schema'")

    with pytest.raises(StoreFormatError, match="format 2"):
        await stock.reopen()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = replace(CAST(data AS TEXT), 'bolt', 'bold') WHERE position = 1",
        "UPDATE events SET head = replace(head, 'stock', 'stick') WHERE position = 1",
        "UPDATE events SET kind = kind + 1 WHERE position = 1",
        "UPDATE events SET kind = 999 WHERE position = 1",
        "UPDATE types SET type = 'ItemStolen' WHERE type = 'ItemStored'",
    ],
)
async def test_changed_event_is_not_served(path, stock, damage):
    await store_each(stock, "nut", "bolt", "screw", "rivet")
    await stock.store.close()
    change(path, damage.replace("data = replace(CAST(data AS TEXT), 'bolt', 'bold')", "data = x'7b7d'"))

    if "UPDATE types" in damage:
        with pytest.raises(CorruptionError):
            await stock.reopen()
        return
    await stock.reopen()

    with pytest.raises(CorruptionError, match="position 1"):
        await stock.whole_log()
    assert len(await stock.store.read_all(limit=1)) == 1
    with pytest.raises(CorruptionError, match="position 1"):
        await stock.store.verify()


async def test_missing_event_is_noticed(path, stock):
    await store_each(stock, *"abcde")
    await stock.store.close()
    change(path, "DELETE FROM events WHERE position = 2")
    await stock.reopen()

    for read in (stock.whole_log, lambda: stock.store.read("stock"), stock.store.verify):
        with pytest.raises(CorruptionError, match="position 2"):
            await read()


async def test_exchanged_events_are_noticed(path, stock):
    await store_each(stock, *"abcdef")
    await stock.store.close()
    for old, new in ((1, 9), (2, 1), (9, 2)):
        change(path, "UPDATE events SET position = ? WHERE position = ?", new, old)
    await stock.reopen()

    with pytest.raises(CorruptionError, match="position 1"):
        await stock.whole_log()


@pytest.mark.parametrize("checksum", ["zeroblob(16)", "x''"])
async def test_rewritten_event_is_noticed_by_the_chain(path, stock, checksum):
    await store_each(stock, *"abcd")
    await stock.store.close()
    change(path, f"UPDATE events SET checksum = {checksum} WHERE position = 1")
    await stock.reopen()

    assert len(await stock.whole_log()) == 4
    with pytest.raises(CorruptionError, match=r"position [12]"):
        await stock.store.verify()


async def test_damaged_end_is_noticed_when_opened(path, stock):
    await stock.store_items(*"abcd")
    await stock.store.close()
    change(path, "UPDATE events SET data = x'7b7d' WHERE position = 3")

    with pytest.raises(CorruptionError, match="position 3"):
        await stock.reopen()


async def test_log_that_lost_its_end_is_noticed_when_opened(path, stock):
    events = await stock.store_items(*"abcd")
    stock.settle("stock.count", events[3], checkpoint=3)
    await stock.store.close()
    change(path, "DELETE FROM events WHERE position = 3")

    with pytest.raises(CorruptionError, match="ends before it"):
        await stock.reopen()


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


async def test_damaged_command_is_not_handled(path, stock):
    await stock.pending_command()
    await stock.store.close()
    change(path, "UPDATE commands SET data = x'7b7d'")
    await stock.reopen()

    with pytest.raises(CorruptionError, match="command 1"):
        await stock.store.pending_commands()


async def test_settled_command_leaves_nothing_of_its_content(path, stock):
    command = correlated(CountStock(shelf="a very secret shelf"))
    await stock.record(command)
    stock.store.settle(Settlement("stock.count", command))
    await stock.store.flush()

    database = sqlite3.connect(path)
    rows = database.execute("SELECT * FROM commands").fetchall()
    database.close()
    assert "secret" not in str(rows)
    assert len(rows) == 1


async def test_settlement_is_written_soon_without_other_writes(path, stock):
    (event,) = await stock.store_items("nut")
    database = sqlite3.connect(path)

    stock.settle("stock.count", event, checkpoint=0)

    await eventually(lambda: database.execute("SELECT * FROM checkpoints").fetchall() == [("stock.count", 0)], 2.0)
    database.close()


class ItemFound(Event, formerly=("ItemStored",)):
    """The name by which ItemStored is known later."""

    item: str
    amount: int = 1
    shelf: str = "A"


async def test_renamed_event_is_read_under_its_new_name(path, stock):
    before = await stock.store_items("nut")
    await stock.store.close()
    later_types = type(stock.types)()
    later_types.add(ItemFound, "stock")
    later = StoreUnderTest(lambda _: SQLiteEventStore(path, later_types))

    await later.store.open()
    (event,) = await later.store.read_all(types=["ItemFound"])
    await later.store.close()

    assert (event.type, event.message) == ("ItemFound", ItemFound(item="nut"))
    assert event.message_id == before[0].message_id


async def test_command_that_fits_no_class_becomes_a_dead_letter(path, stock):
    command = await stock.pending_command()
    await stock.store.close()
    empty = type(stock.types)()
    later = SQLiteEventStore(path, empty)

    await later.open()
    pending = await later.pending_commands()
    letters = await later.dead_letters()
    await later.close()

    assert pending == []
    assert [(letter.handler, letter.message_id, letter.type) for letter in letters] == [
        ("", command.message_id, "CountStock")
    ]


async def test_bad_message_is_refused_and_spoils_nothing(stock):
    with pytest.raises(UnsafePayloadError):
        await stock.complete(Unit([correlated(ItemStored(item="nut")), correlated(ItemStored(item="\ud800"))]))
    with pytest.raises(StreamNameError):
        await stock.append("a\0b", "nut")
    with pytest.raises(UnsafePayloadError):
        await stock.record(correlated(ItemStored(item="nut"), headers={"tenant": "\0"}))

    assert await stock.store_items("bolt")
    assert len(await stock.whole_log()) == 1


async def test_odd_command_from_elsewhere_is_settled_and_spoils_nothing(stock):
    odd = Envelope(CountStock(), "\ud800\0", "\ud800", None, float("nan"))

    stock.store.settle(Settlement("stock.count", odd, error="\ud800"))
    again = await stock.complete(Unit([correlated(ItemStored(item="nut"))], Settlement("stock.count", odd)))

    assert again.events == ()
    assert len(await stock.store.dead_letters()) == 1
    assert await stock.store_items("bolt")


async def test_writes_after_closing_are_refused(stock):
    await stock.store.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        await stock.store_items("nut")
    with pytest.raises(StoreUnavailableError, match="closed"):
        await stock.whole_log()


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


async def test_writes_from_outside_are_refused_when_too_many_wait(stock, monkeypatch):
    monkeypatch.setattr(store, "WAITING_LIMIT", 10)
    command = await stock.pending_command()
    writes = [asyncio.ensure_future(stock.record(ItemStored(item=f"item {number}"))) for number in range(20)]
    await asyncio.sleep(0)

    from_handler = await stock.complete(Unit([correlated(ItemStored(item="nut"))], Settlement("stock.count", command)))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert len(from_handler.events) == 1
    assert [isinstance(outcome, StoreBusyError) for outcome in outcomes] == [False] * 10 + [True] * 10


async def test_batch_is_split_at_its_limit(stock, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_WRITES", 7)

    await asyncio.gather(*(stock.store_items(f"item {number}") for number in range(50)))

    assert [event.position for event in await stock.whole_log()] == list(range(50))
    assert await stock.store.verify() == 50


async def test_store_is_read_from_many_threads(stock):
    await stock.reopen(StockProjection())
    await stock.store_items(*(f"item {number}" for number in range(100)))

    counts = await asyncio.gather(
        *(asyncio.to_thread(stock.store.rows.count, ITEMS, {"shelf": "A"}) for _ in range(50)),
    )

    assert counts == [100] * 50


async def test_big_page_is_read_like_small_ones(stock):
    await stock.store_items(*(f"item {number}" for number in range(1500)))

    big = await stock.store.read_all(limit=2000)
    small = [event for after in range(-1, 1499, 500) for event in await stock.store.read_all(after=after, limit=500)]

    assert all_facts(big) == all_facts(small)
