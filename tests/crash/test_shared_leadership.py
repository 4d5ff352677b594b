"""Leading those who share a PostgreSQL store: what may go wrong while the lead changes, and what a leader does beside others."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest

from microlith.errors import StoreAwayError, StoreLockedError, StoreUnavailableError
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.postgres import PostgresEventStore
from microlith.event_store.postgres.connection import LOCK_SECONDS, Connection, run
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.permission import MembershipLostError, agreement
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.sharing import PostgresSharing
from microlith.messages import Event
from microlith.testing.event_store_contract.stock import StockProjection, StoreUnderTest
from tests.crash.store_load import stock_on
from tests.crash.test_postgres_shared import PATIENCE, opened, part_of, write
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(120)]


class Packed(Event):
    item: str


class PackedLater(Event):
    item: str
    box: str = ""


@pytest.fixture
def shared(postgres_schema) -> str:
    return f"{postgres_schema}&shared=yes"


def store_of(stock: StoreUnderTest) -> PostgresEventStore:
    assert isinstance(stock.store, PostgresEventStore)
    return stock.store


def sharing_of(stock: StoreUnderTest) -> PostgresSharing:
    sharing = store_of(stock).sharing
    assert sharing is not None
    return sharing


@asynccontextmanager
async def writing(*stocks: StoreUnderTest, each: int = 4) -> AsyncIterator[None]:
    """Have stores written to, several at a time, until the end of the block."""
    over = asyncio.Event()

    async def keep_on(stock: StoreUnderTest, name: str) -> None:
        number = 0
        while not over.is_set():
            await stock.store_items(f"{name}-{number}")
            number += 1

    tasks = [asyncio.create_task(keep_on(stock, f"{at}.{n}")) for at, stock in enumerate(stocks) for n in range(each)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def test_lead_is_taken_though_a_dead_leaders_transaction_still_holds_the_row(shared, monkeypatch):
    monkeypatch.setattr("microlith.event_store.postgres.sharing.GRACE_SECONDS", 0.5)
    first, second = stock_on(shared), stock_on(shared)
    place = Place.of(shared)
    await first.store.open()
    await second.store.open()
    leading = asyncio.create_task(part_of(second).lead())
    with psycopg.connect(place.url) as dead:
        dead.execute(f'SELECT 1 FROM "{place.schema}".log_end FOR UPDATE')
        ownership = sharing_of(first).ownership
        assert ownership is not None
        await asyncio.to_thread(ownership.release)
        await asyncio.sleep(LOCK_SECONDS + 1)  # longer than one attempt waits for the row
        assert not leading.done()
        dead.rollback()
    await asyncio.wait_for(leading, PATIENCE)
    await second.store_items("a")
    await second.store.close()
    await first.store.close()


async def test_lead_that_could_not_be_taken_is_taken_later_and_until_then_the_process_writes_as_before(shared):
    first, second, third = stock_on(shared), stock_on(shared), stock_on(shared)
    for stock in (first, second, third):
        await stock.store.open([StockProjection()])
    broken = store_of(second)._writer
    project, failed = broken._project, asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail(*_: object, **__: object) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise StoreAwayError("postgresql://", "it is away for a moment")

    broken._project = fail  # type: ignore[method-assign]
    leading = asyncio.create_task(part_of(second).lead())
    await first.store.close()
    await asyncio.wait_for(failed.wait(), PATIENCE)
    await second.store_items("still")
    third_leads = asyncio.create_task(part_of(third).lead())
    await asyncio.wait_for(third_leads, PATIENCE)
    await second.store_items("after")
    broken._project = project  # type: ignore[method-assign]
    await third.store.close()
    await asyncio.wait_for(leading, PATIENCE)
    await second.store_items("leading")
    folded, log = second.folded(), await second.whole_log()
    await second.store.close()

    assert folded == len(log) == 3


async def test_process_joins_though_the_leader_goes_that_was_building_the_projections(shared):
    first, second = stock_on(shared), stock_on(shared)
    await first.store.open()
    await write(first, "a", 5)
    await first.store.close()
    building = store_of(stock_on(shared))
    building._agreed = agreement(second.types, [StockProjection()])
    ownership = await asyncio.to_thread(taken_when_free, building._take)
    opening = asyncio.create_task(second.store.open([StockProjection()]))
    await asyncio.sleep(1.5)
    assert not opening.done()
    await asyncio.to_thread(ownership.release)
    await asyncio.wait_for(opening, PATIENCE)
    folded = second.folded()
    await second.store.close()

    assert folded == 10


def taken_when_free(take: Callable[[], Ownership]) -> Ownership:
    """Take what its last owner has let go of; the server may not have noticed yet."""
    for _ in range(100):
        with suppress(StoreLockedError):
            return take()
        time.sleep(0.1)
    raise AssertionError("it was not let go of")


async def test_stop_while_the_lead_is_taken_leaves_nobody_leading(shared):
    first, second = stock_on(shared), stock_on(shared)
    await first.store.open()
    await second.store.open()
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    sharing_of(second)._take = slowly(sharing_of(second)._take, lambda: loop.call_soon_threadsafe(begun.set))
    leading = asyncio.create_task(part_of(second).lead())
    await first.store.close()
    await asyncio.wait_for(begun.wait(), PATIENCE)
    leading.cancel()
    with suppress(asyncio.CancelledError):
        await leading
    await second.store.close()

    assert await asyncio.to_thread(Ownership.owner_of, Place.of(shared)) is None


def slowly(take: Callable[[], Ownership], begun: Callable[[], object]) -> Callable[[], Ownership]:
    def takes() -> Ownership:
        taken = take()
        begun()
        time.sleep(0.3)
        return taken

    return takes


async def test_process_that_writes_no_more_does_not_lead(shared):
    first, second = stock_on(shared), stock_on(shared)
    await first.store.open()
    await second.store.open()
    store_of(second)._writer.failure = StoreUnavailableError("planted")
    leading = asyncio.create_task(part_of(second).lead())
    await first.store.close()
    with pytest.raises(StoreUnavailableError, match="cannot be led"):
        await asyncio.wait_for(leading, PATIENCE)
    owner = await asyncio.to_thread(Ownership.owner_of, Place.of(shared))
    await second.store.close()

    assert owner is None


async def test_projection_that_becomes_one_of_another_kind_is_another_version(shared, caplog):
    old, new = stock_on(shared), stock_on(shared)
    await old.store.open([StockProjection()])
    opening = asyncio.create_task(new.store.open([StockProjection(inline=False)]))
    await eventually(lambda: "stands by" in caplog.text, PATIENCE)
    await write(old, "a", 3)
    await old.store.close()
    await asyncio.wait_for(opening, PATIENCE)
    await new.store.close()


async def test_message_with_a_field_more_is_another_version(shared, caplog):
    old, new = stock_on(shared), stock_on(shared)
    old.types.add(Packed, "stock")
    new.types.add(type("Packed", (PackedLater,), {"__module__": __name__}), "stock")
    await old.store.open()
    opening = asyncio.create_task(new.store.open())
    await eventually(lambda: "of another version" in caplog.text, PATIENCE)
    await old.store.close()
    await asyncio.wait_for(opening, PATIENCE)
    await new.store.close()


async def test_rows_are_built_anew_while_others_never_stop_writing(shared):
    leader, *members = stock_on(shared), stock_on(shared), stock_on(shared)
    async with opened(leader, *members):
        await write(leader, "a", 50)
        async with writing(*members):
            for _ in range(3):
                await asyncio.wait_for(leader.store.rebuild("stock.items", lambda _done, _all: None), PATIENCE)
        folded, log = leader.folded(), await leader.whole_log()

    assert folded == len(log)


async def test_who_restores_goes_on_alone(shared):
    leader, member = stock_on(shared), stock_on(shared)
    async with opened(leader, member):
        await write(member, "m", 3)
        copies = [
            EventCopy(
                "stock", "ItemStored", 1, "old", at, f"id-{at}", f"c-{at}", None, 1, 0, None, b'{"item":"r%d"}' % at
            )
            for at in range(700)
        ]
        assert await leader.store.restore(copies) == 700
        with pytest.raises(MembershipLostError, match="does not share"):
            await member.store_items("x")
        await leader.store_items("y")
        folded, log = leader.folded(), await leader.whole_log()

    assert folded == len(log) == 707


async def test_claim_is_had_once_though_the_connection_is_lost_while_it_is_had(shared, monkeypatch):
    first, second = stock_on(shared), stock_on(shared)
    async with opened(first, second):
        cut = asyncio.Event()
        mine = sharing_of(first).claims

        def loses(connection: Connection, text: str, values: tuple[object, ...] = ()) -> list[object]:
            if connection is mine._connection and "dead_letters" in text and not cut.is_set():
                cut.set()
                connection.close()
                raise psycopg.OperationalError("cut")
            return run(connection, text, values)

        monkeypatch.setattr("microlith.event_store.postgres.claims.run", loses)
        await part_of(first).claim("stock.count", "k")
        part_of(first).let_go("stock.count", "k")
        await asyncio.wait_for(part_of(second).claim("stock.count", "k"), PATIENCE)

    assert cut.is_set()


async def test_notifications_pile_up_nowhere(shared):
    first, second = stock_on(shared), stock_on(shared)
    async with opened(first, second), writing(second):
        await asyncio.sleep(3)
        connection = sharing_of(first)._connection
        assert connection is not None
        assert not connection._notifies_backlog
