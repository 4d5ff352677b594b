"""What only a store in a PostgreSQL database can do: be owned across machines, be told of, hold what no index can."""

import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import HandlerFailedError, StoreLockedError
from microlith.event_store import open_event_store
from microlith.event_store.postgres import Place, PostgresEventStore, opening
from microlith.event_store.postgres.connection import connect, run
from microlith.event_store.postgres.opening import SchemaError
from microlith.event_store.protocol import RecordedEvent, RowWriter, TableSpec, TimedUnit
from microlith.event_store.schedule import Cancelling, Scheduling
from microlith.event_store.snapshot import Snapshot
from microlith.testing.event_store_contract.stock import (
    COUNTS,
    CountStock,
    ItemStored,
    StockProjection,
    StoreUnderTest,
    all_facts,
)
from tests.contracts.database_contract import DatabaseContract, with_bytes

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]


def opener(url):
    return lambda types: open_event_store(url, types, Path.cwd())


def connected(url):
    """A connection beside the store, in its schema."""
    place = Place.of(url)
    return psycopg.connect(place.url, autocommit=True, options=f"-c search_path={place.schema}")


@pytest.fixture
async def stock(postgres_schema):
    stock = StoreUnderTest(opener(postgres_schema))
    await stock.store.open()
    yield stock
    await stock.store.close()


class TestPostgresDatabase(DatabaseContract):
    @pytest.fixture
    def make(self, postgres_schema):
        return opener(postgres_schema)

    @pytest.fixture
    def ask(self, postgres_schema):
        def run(text):
            with connected(postgres_schema) as connection:
                cursor = connection.execute(with_bytes(text, r"'\x", "'"))
                return cursor.fetchall() if cursor.description else []

        return run


OWNER = """
import asyncio, sys
from pathlib import Path
from microlith.event_store import open_event_store
from microlith.serialization import MessageTypes

async def hold():
    await open_event_store(sys.argv[1], MessageTypes(), Path.cwd()).open()
    print("open", flush=True)
    await asyncio.sleep(60)

asyncio.run(hold())
"""

PARENT = OWNER.replace(
    'print("open", flush=True)',
    """import os
    if os.fork() == 0:
        print(os.getpid(), flush=True)""",
)


@pytest.fixture
def owner(postgres_schema):
    process = subprocess.Popen([sys.executable, "-c", OWNER, postgres_schema], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("earlier", range(5))
@pytest.mark.parametrize("undoes", [False, True])
def test_statement_that_is_skipped_behind_an_error_works_the_next_time(postgres_schema, earlier, undoes):
    """The client counts how often a statement is used, and may believe that one was prepared which the server skipped."""
    insert, move = "INSERT INTO numbers VALUES ($1)", "UPDATE numbers SET n = $1 WHERE n = $2"
    with connect(Place.of(postgres_schema), "test") as connection:
        connection.execute("CREATE TEMPORARY TABLE numbers (n bigint PRIMARY KEY)")
        run(connection, insert, [1])
        for _ in range(earlier):
            run(connection, move, [1, 1])

        with connection.pipeline() as pipeline:
            if undoes:
                for text in ("BEGIN", "SAVEPOINT one", "ROLLBACK TO SAVEPOINT one"):
                    run(connection, text)
                pipeline.sync()
                run(connection, move, [1, 1])
                run(connection, "COMMIT")
            with pytest.raises(psycopg.Error):  # from whichever sees the answer
                _fail(connection, pipeline, (insert, [1]), (move, [2, 1]))
            with suppress(psycopg.Error):
                pipeline.sync()
        run(connection, move, [3, 1])

        assert connection.execute("SELECT n FROM numbers").fetchall() == [(3,)]


def _fail(connection, pipeline, *statements):
    for text, values in statements:
        run(connection, text, values)
    pipeline.sync()


async def test_second_owner_is_refused_and_told_who_is_the_first(postgres_schema, owner):
    with pytest.raises(StoreLockedError, match=f"process {owner.pid} on .*, started 20") as caught:
        await StoreUnderTest(opener(postgres_schema)).store.open()

    assert "microlith@" not in str(caught.value), "the password"


async def test_second_store_in_one_process_is_refused(postgres_schema, stock):
    with pytest.raises(StoreLockedError):
        await opener(postgres_schema)(stock.types).open()


async def test_other_schemas_of_a_database_have_owners_of_their_own(postgres_schema, postgres, stock):
    other = StoreUnderTest(opener(f"{postgres_schema}_other"))
    try:
        await other.store.open()
        await other.store_items("nut")
        await other.store.close()
    finally:
        postgres.drop_schemas(Place.of(f"{postgres_schema}_other").schema)

    assert await stock.whole_log() == []


async def test_store_is_free_when_its_owner_was_killed(postgres_schema, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    heir = StoreUnderTest(opener(postgres_schema))

    await heir.store.open()
    await heir.store_items("nut")
    await heir.store.close()


@pytest.fixture
def orphan(postgres_schema):
    """The child of an owner that was killed: it was forked while the store was open."""
    command = [sys.executable, "-W", "ignore", "-c", PARENT, postgres_schema]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    yield child
    os.kill(child, signal.SIGKILL)


@pytest.mark.usefixtures("orphan")
async def test_store_is_free_when_a_forked_child_outlives_its_owner(postgres_schema):
    heir = StoreUnderTest(opener(postgres_schema))

    await heir.store.open()
    await heir.store_items("nut")
    await heir.store.close()


async def test_schema_of_something_else_is_left_alone(postgres_schema):
    place = Place.of(postgres_schema)
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {place.schema}")
        connection.execute(f"CREATE TABLE {place.schema}.photos (name text)")

        with pytest.raises(SchemaError, match="something else"):
            await StoreUnderTest(opener(postgres_schema)).store.open()

        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [place.schema]).fetchall()
    assert names == [("photos",)]


async def test_server_that_is_too_old_is_refused(postgres_schema, monkeypatch):
    monkeypatch.setattr(opening, "_OLDEST", 990000)

    with pytest.raises(SchemaError, match=r"lies on PostgreSQL \d+"):
        await StoreUnderTest(opener(postgres_schema)).store.open()


async def test_database_without_unicode_is_refused(postgres):
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        with pytest.raises(SchemaError, match="encoding LATIN1"):
            await StoreUnderTest(opener(postgres.database_url("latin"))).store.open()
    finally:
        postgres.drop_database("latin")


@pytest.mark.parametrize(("option", "setting"), [("", "on"), ("&durability=fast", "off")])
async def test_store_sets_itself_what_a_commit_waits_for(postgres_schema, option, setting):
    place = Place.of(postgres_schema)
    server = "off" if setting == "on" else "on"
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE postgres SET synchronous_commit TO {server}")
        try:
            stock = StoreUnderTest(opener(f"{postgres_schema}{option}"))
            await stock.store.open()
        finally:
            connection.execute("ALTER ROLE postgres RESET synchronous_commit")
    assert isinstance(stock.store, PostgresEventStore)
    writer = stock.store._writer

    held = await writer.do(lambda: writer.session.run("SELECT current_setting('synchronous_commit')"))
    await stock.store.close()

    assert held == [(setting,)]


async def test_whoever_listens_is_told_a_position_and_nothing_else(postgres_schema, stock):
    with connected(postgres_schema) as connection:
        connection.execute(f"LISTEN microlith_{Place.of(postgres_schema).schema}")
        await stock.store_items("n" * 500_000, "bolt")
        await stock.store_items("screw")
        stock.store.settle_command(await stock.pending_command())
        await stock.store.flush()

        heard = [notify.payload for notify in connection.notifies(timeout=5, stop_after=2)]
        heard += [notify.payload for notify in connection.notifies(timeout=0.2)]

    assert heard == ["1", "2"]


LONG = "ü" * 5_000


async def test_ids_and_names_of_any_length_are_kept_and_found(postgres_schema, stock):
    twins = [LONG + end for end in "ab"]
    for number, name in enumerate(twins):
        envelope = Envelope(ItemStored(item="nut"), f"m{name}", f"c{name}", None, 1_700_000_000.0)
        await stock.complete(TimedUnit([envelope], None, f"s{name}", -1))
        command = Envelope(CountStock(), f"k{name}", f"c{name}", None, 1_700_000_000.0)
        await stock.record(command)
        later = Envelope(CountStock(), f"l{name}", f"c{name}", None, 1_700_000_000.0)
        await stock.complete(TimedUnit([], changes=[Scheduling(later, 2e9 + number, name=f"n{name}")]))
        stock.store.keep_snapshot(Snapshot.of(f"s{name}", f"o{name}", 0, "1", name.encode()))
    await stock.reopen()

    for number, name in enumerate(twins):
        (event,) = await stock.store.read(f"s{name}")
        assert (event.stream, event.message_id, event.position) == (f"s{name}", f"m{name}", number)
        assert all_facts(await stock.store.read_correlation(f"c{name}")) == all_facts([event])
        assert await stock.store.is_recorded(f"m{name}")
        snapshot = await stock.store.snapshot(f"s{name}", f"o{name}")
        assert snapshot is not None
        assert snapshot.data == name.encode()
        schedule = await stock.store.schedule(f"l{name}")
        assert schedule is not None
        assert schedule.name == f"n{name}"
        again = await stock.complete(TimedUnit([event.envelope]))
        assert list(again.duplicates) == [f"m{name}"]
    await stock.complete(TimedUnit([], changes=[Cancelling(f"c{twins[0]}", f"n{twins[0]}")]))
    assert [one.name for one in await stock.store.schedules()] == [f"n{twins[1]}"]
    assert (await stock.store.check_snapshots()).faults == []
    assert await stock.store.verify() == 2


ODD = TableSpec("stock_odd", "name", "text", ("value",))
LONG_NAME = TableSpec("stock_" + "x" * 57, "number", "integer", ("f" * 63,))
VALUES = [None, 0, 1, -1, 1.5, "1", "", "null", "x" * 10_000, "x" * 9_999 + "y", "\0", "'\"\\", 1e300, 2**62]


class OddProjection:
    """Keeps odd values; the item says which key it writes."""

    name = "stock.odd"
    inline = True
    fingerprint = "1"
    tables = (ODD, LONG_NAME)

    def takes(self, event: RecordedEvent) -> bool:
        """Take all."""
        return event.type == "ItemStored"

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Write a row for each value, and one whose key is the item."""
        message = event.message
        assert isinstance(message, ItemStored)
        for number, value in enumerate(VALUES):
            rows.put(ODD, f"{number:03}", str(number).encode(), {"value": value})
        rows.put(LONG_NAME, 2**63 - 1, b"long", {"f" * 63: "found"})
        rows.put(ODD, message.item, b"item", {"value": "item"})


async def test_rows_are_found_by_values_of_every_type_and_length(stock):
    await stock.reopen(OddProjection())
    await stock.store_items("ö")
    rows = stock.store.rows

    assert [rows.find(ODD, {"value": value}, 9) for value in VALUES] == [[b"%d" % n] for n in range(len(VALUES))]
    assert rows.find(ODD, {"value": True}, 9) == rows.find(ODD, {"value": 1.0}, 9) == [b"2"]
    assert rows.count(ODD, {"value": "x" * 9_998}) == 0
    assert rows.find(LONG_NAME, {"f" * 63: "found"}, 1) == [b"long"]
    assert [rows.get(LONG_NAME, key) for key in (2**63 - 1, 2**63, 1.5, "1")] == [b"long", None, None, None]
    assert [rows.get(ODD, key) for key in ("ö", "a\0b", 1)] == [b"item", None, None]
    assert rows.find(ODD, {}, 2) == [b"0", b"1"]


class OwnKeyProjection:
    """Keeps each item under itself."""

    name = "stock.own"
    inline = True
    fingerprint = "1"
    tables = (ODD,)

    def takes(self, event: RecordedEvent) -> bool:
        """Take all."""
        return event.type == "ItemStored"

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Write one row."""
        message = event.message
        assert isinstance(message, ItemStored)
        rows.put(ODD, message.item, b"the content", {"value": None})


class Counting(StockProjection):
    """Counts, whatever the items are."""

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Count it."""
        rows.put(COUNTS, 1, b"%d" % (int(rows.get(COUNTS, 1) or b"0") + 1), {})


@pytest.mark.parametrize("key", ["a\0b", secrets.token_hex(5_000)])
async def test_key_that_postgres_cannot_keep_stops_its_projection_alone(stock, key):
    await stock.reopen(OwnKeyProjection(), Counting())
    await stock.store_items("nut", key, "bolt")

    own, counts = await stock.store.projection_states()
    assert (own.checkpoint, counts.checkpoint, counts.error) == (0, 2, None)
    assert own.error
    assert "content" not in own.error
    assert (stock.store.rows.get(ODD, "nut"), stock.folded()) == (b"the content", 3)
    with pytest.raises(HandlerFailedError, match="ItemStored at position 1"):
        await stock.store.rebuild("stock.own", lambda _done, _all: None)


async def test_log_is_readable_with_a_sql_shell(postgres_schema, stock):
    envelope = correlated(ItemStored(item="nut"))
    await stock.record(envelope)

    with connected(postgres_schema) as connection:
        rows = connection.execute("SELECT stream, stream_position, type, message_id, data->>'item' FROM log").fetchall()

    assert rows == [("stock", 0, "ItemStored", envelope.message_id, "nut")]
