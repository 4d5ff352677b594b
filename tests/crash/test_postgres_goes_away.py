"""A PostgreSQL server that dies, or ends connections, under load: nothing acknowledged is lost, nothing is written twice.

The store lives in this process and outlives the server. `MICROLITH_RESTARTS` sets how often the server is killed,
`MICROLITH_CUTS` how often connections are ended, `MICROLITH_SEED` repeats a run.
"""

import asyncio
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

from microlith.context import correlated
from microlith.errors import StoreAwayError, StoreError, UnknownOutcomeError
from microlith.event_store.postgres import PostgresEventStore, readers, session
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import PostgresSession
from microlith.event_store.protocol import RecordedEvent, Settlement, Unit
from microlith.testing.event_store_contract.stock import ItemStored, StockProjection, StoreUnderTest, item_of
from tests.crash import store_load
from tests.crash.bank import AuditedEvent, Deposit, Seen, make_bank
from tests.crash.store_checks import Books, History, load_server
from tests.crash.store_load import handle_commands, settle_pending, stock_on, write_events, write_units
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(300)]

RESTARTS = int(os.environ.get("MICROLITH_RESTARTS", "5"))
CUTS = int(os.environ.get("MICROLITH_CUTS", "40"))
KILLS = int(os.environ.get("MICROLITH_KILLS", "200")) // 20
CALLERS = 9
MOST = 1_000_000
ROOT = Path(__file__).parents[2]
EVERY_CONNECTION = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'microlith %' AND pid <> pg_backend_pid()
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine may take long to start a server."""
    for module in (session, readers):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 120.0)


@pytest.fixture
def books(monkeypatch) -> Books:
    """What the load tries, and what is acknowledged to it."""
    books = Books()

    def say(word: str, *names: str) -> None:
        (books.tried if word == "try" else books.acknowledged).update(names)

    monkeypatch.setattr(store_load, "say", say)
    return books


async def work_until(stock: StoreUnderTest, trouble) -> None:
    """Write as fast as it goes while there is trouble; then let everybody finish what they have begun."""
    stop = asyncio.Event()

    def numbers() -> Iterator[int]:
        for number in shared:
            if stop.is_set():
                return
            yield number

    shared = iter(range(MOST))
    work = (write_events, write_units, handle_commands)
    callers = [asyncio.create_task(work[caller % len(work)](stock, numbers())) for caller in range(CALLERS)]
    try:
        await trouble
        await asyncio.sleep(0.1)
    finally:
        stop.set()
        await asyncio.gather(*callers)


async def check(url: str, stock: StoreUnderTest, books: Books) -> None:
    """Close the store, and compare what it holds with the books."""
    await stock.store.flush()
    await settle_pending(stock)
    await stock.store.close()
    assert threads_of_stores() == []
    await History(url).check(books, whole=True)


def grown(counted: Sized, beyond: int) -> bool:
    return len(counted) > beyond


def items_of(log: Sequence[RecordedEvent]) -> list[str]:
    return [item_of(event.message) for event in log]


def threads_of_stores() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("microlith-store-owner")]


async def restart_again_and_again(postgres, books: Books, chance: random.Random) -> None:
    for _ in range(RESTARTS):
        known = len(books.acknowledged)
        await eventually(partial(grown, books.acknowledged, known + 20), 60)
        await asyncio.sleep(chance.uniform(0, 0.3))
        await asyncio.to_thread(postgres.kill)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.to_thread(postgres.start)


async def cut_again_and_again(url: str, books: Books, chance: random.Random) -> None:
    async with await psycopg.AsyncConnection.connect(Place.of(url).url, autocommit=True) as admin:
        for _ in range(CUTS):
            known = len(books.acknowledged)
            await asyncio.sleep(chance.uniform(0, 0.1))
            await admin.execute(EVERY_CONNECTION)
            await eventually(partial(grown, books.acknowledged, known), 60)


async def test_server_that_is_killed_under_load_loses_nothing_and_repeats_nothing(
    postgres, postgres_schema, books, seed
):
    stock = stock_on(postgres_schema)
    await stock.store.open([StockProjection()])

    await work_until(stock, restart_again_and_again(postgres, books, random.Random(seed)))

    assert stock.store.failure is None
    await check(postgres_schema, stock, books)


async def test_connections_that_are_ended_under_load_lose_nothing_and_repeat_nothing(postgres_schema, books, seed):
    stock = stock_on(postgres_schema)
    await stock.store.open([StockProjection()])

    await work_until(stock, cut_again_and_again(postgres_schema, books, random.Random(seed)))

    assert stock.store.failure is None
    await check(postgres_schema, stock, books)


async def test_process_that_is_killed_under_load_loses_nothing(postgres_schema, seed):
    chance = random.Random(seed)
    with load_server() as server:
        history = History(f"{postgres_schema}&standby=yes")  # the server may take a while to notice
        for trial in range(KILLS):
            pid = server.start(postgres_schema, trial * 100_000, "durable", "sound")
            if trial % 4:  # one in four dies at its start
                await eventually(server.books.opened.is_set, 20)
            await asyncio.sleep(chance.uniform(0.01, 0.5))
            os.kill(pid, signal.SIGKILL)
            assert server.books.gone.wait(timeout=20)
            await history.check(server.books, whole=trial + 1 == KILLS)

    assert server.books.acknowledged


def wait_until_commits_stick(url: str, admin: psycopg.Connection) -> None:
    """Return when the server has taken the setting in: a moment after it was told to."""
    with psycopg.connect(url, autocommit=True) as probe:
        pid = probe.info.backend_pid
        for _ in range(300):
            commit = threading.Thread(
                target=probe.execute, args=("SELECT pg_logical_emit_message(true, 'probe', '')",), daemon=True
            )
            commit.start()
            commit.join(0.2)
            seen = admin.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
            if commit.is_alive() and seen == ("SyncRep",):
                admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
                commit.join()
                return
            commit.join()
    raise AssertionError("No commit waits for the standby that is not there.")


@contextmanager
def stuck_in_commit(postgres, url: str, *, committed: bool) -> Iterator[None]:
    """Have commits of events take for ever: after they have come about, or before."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        if committed:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            admin.execute("SELECT pg_reload_conf()")
            wait_until_commits_stick(postgres.url, admin)
        else:
            schema = Place.of(url).schema
            admin.execute(f"""
                CREATE FUNCTION {schema}.stick() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN PERFORM pg_sleep(60); RETURN NULL; END$$;
                CREATE CONSTRAINT TRIGGER stick AFTER INSERT ON {schema}.events
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.stick()
            """)
        try:
            yield
        finally:
            with suppress(psycopg.OperationalError):  # a test may have killed the server
                admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
                admin.execute("SELECT pg_reload_conf()")


async def stuck_writers(admin: psycopg.AsyncConnection, count: int) -> None:
    """Wait until so many writers are stuck in their commits."""
    stuck = """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'microlith % writer' AND wait_event IN ('SyncRep', 'PgSleep')
    """
    async with asyncio.timeout(30):
        while await (await admin.execute(stuck)).fetchone() != (count,):  # noqa: ASYNC110 (the event is in a server)
            await asyncio.sleep(0.01)


async def end_stuck_writer(url: str) -> None:
    """Wait until the writer is stuck in its commit, undo what it is stuck in, and end its connection."""
    async with await psycopg.AsyncConnection.connect(Place.of(url).url, autocommit=True) as admin:
        await stuck_writers(admin, 1)
        await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.execute(EVERY_CONNECTION)
        await stuck_writers(admin, 0)
        schema = Place.of(url).schema
        await admin.execute(f"DROP FUNCTION IF EXISTS {schema}.stick() CASCADE")


async def test_the_same_checks_catch_a_commit_that_is_taken_for_granted(postgres, postgres_schema, books, monkeypatch):
    monkeypatch.setattr(PostgresSession, "_came_about", lambda _self, _error: True)
    stock = stock_on(postgres_schema)
    await stock.store.open([StockProjection()])
    with stuck_in_commit(postgres, postgres_schema, committed=False):
        told = asyncio.create_task(write_events(stock, iter([1])))
        await end_stuck_writer(postgres_schema)
        await told

    with pytest.raises((AssertionError, StoreError)):
        await check(postgres_schema, stock, books)
    await stock.store.close()


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_commit_whose_answer_is_lost_is_told_as_it_was_and_written_once(postgres, postgres_schema, committed):
    stock = stock_on(postgres_schema)
    await stock.store.open([StockProjection()])
    await stock.store_items("before")
    envelopes = [correlated(ItemStored(item=name)) for name in ("a", "b")]

    with stuck_in_commit(postgres, postgres_schema, committed=committed):
        told = asyncio.create_task(stock.complete(Unit(envelopes)))
        await end_stuck_writer(postgres_schema)
        outcome = await told
    again = await stock.complete(Unit(envelopes))
    after = await stock.store_items("after")
    log = await stock.whole_log()
    folded = stock.folded()
    await stock.store.close()

    assert [event.position for event in outcome.events] == [1, 2]
    assert list(again.duplicates) == [envelope.message_id for envelope in envelopes]
    assert after[0].position == 3
    assert items_of(log) == ["before", "a", "b", "after"]
    assert folded == 4


async def test_closing_while_an_outcome_is_unknown_says_so(postgres, postgres_schema):
    stock = stock_on(postgres_schema)
    await stock.store.open()
    with stuck_in_commit(postgres, postgres_schema, committed=False):
        told = asyncio.create_task(stock.store_items("a"))
        async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as admin:
            await stuck_writers(admin, 1)
        await asyncio.to_thread(postgres.kill)

        await stock.store.close()
        with pytest.raises(UnknownOutcomeError):
            await told
        await asyncio.to_thread(postgres.start)


async def test_who_waits_outside_is_told_in_time_and_what_a_handler_wants_written_waits(
    postgres, postgres_schema, monkeypatch
):
    for module in (session, readers):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    stock = stock_on(postgres_schema)
    await stock.store.open([StockProjection()])
    command = await stock.pending_command()
    await asyncio.to_thread(postgres.kill)

    handled = asyncio.create_task(
        stock.complete(Unit([correlated(ItemStored(item="a"))], Settlement("stock.count", command)))
    )
    for ask in (lambda: stock.store_items("b"), stock.whole_log, stock.store.flush, stock.store.dead_letters):
        with pytest.raises(StoreAwayError, match=r"postgres:\*\*\*@"):
            await asyncio.wait_for(ask(), 20)
    assert not handled.done()
    assert stock.store.failure is None
    await asyncio.to_thread(postgres.start)
    committed = await asyncio.wait_for(handled, 30)
    log = await stock.whole_log()
    pending = await stock.store.pending_commands()
    await stock.store.close()

    assert items_of(log) == ["a"]
    assert [event.position for event in committed.events] == [0]
    assert pending == []


async def test_projection_that_cannot_open_an_event_since_the_keys_are_away_is_not_stopped(postgres_schema):
    class Waiting(StockProjection):
        left = 3

        def apply(self, event, rows) -> None:
            if self.left:
                self.left -= 1
                raise StoreAwayError("postgresql://host/keys", "the server does not answer")
            super().apply(event, rows)

    stock = stock_on(postgres_schema)
    await stock.store.open([Waiting()])
    await stock.store_items("a")
    reached = stock.store.reached(StockProjection.name)
    folded = stock.folded()
    await stock.store.close()

    assert (reached.checkpoint, reached.error) == (0, None)
    assert folded == 1


async def test_server_that_is_away_at_the_start_is_named_without_its_password(postgres, postgres_schema):
    await asyncio.to_thread(postgres.kill)
    try:
        with pytest.raises(StoreAwayError) as caught:
            await stock_on(postgres_schema).store.open()
    finally:
        await asyncio.to_thread(postgres.start)

    assert f":{postgres.port}" in str(caught.value)
    assert "microlith:***@" in str(caught.value).replace("postgres:***@", "microlith:***@")
    assert "Start its server" in caught.value.hint


async def test_application_lives_through_restarts_of_its_server(tmp_path, postgres, postgres_schema, seed):
    chance = random.Random(seed)
    done: list[int] = []
    async with make_bank(str(tmp_path), postgres_schema) as app:

        async def client(numbers: range) -> None:
            for number in numbers:
                await app.command_bus.execute(Deposit(number=number), until=AuditedEvent, timeout=120)
                done.append(number)

        clients = [asyncio.create_task(client(range(first, 200, 10))) for first in range(10)]
        for _ in range(3):
            known = len(done)
            await eventually(partial(grown, done, known + 5), 60)
            await asyncio.sleep(chance.uniform(0, 0.2))
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
        await asyncio.gather(*clients)
        assert await app.idle()
        letters = await app.store.dead_letters()
        (table,) = app.wire().projections[0].tables
        rows = app.store.rows.find(table, {}, 1000)
        verified = await app.store.verify()

    assert letters == []
    assert [Seen.model_validate_json(row) for row in rows] == [
        Seen(number=number, deposits=1, audits=1) for number in range(200)
    ]
    assert verified == 400


def test_all_that_is_a_store_here_is_one_in_postgres(postgres_schema):
    assert isinstance(stock_on(postgres_schema).store, PostgresEventStore)
