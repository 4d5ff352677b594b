"""Processes that share a PostgreSQL store: all of them commit to it, one leads, and each hears of the others.

Here they are stores side by side in one process; see `tests/acceptance/test_shared_stores.py` for real ones.
"""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest

from microlith.context import correlated
from microlith.errors import PositionConflictError, StoreLockedError
from microlith.event_store.database.projecting import Projections
from microlith.event_store.database.reading import LogReader
from microlith.event_store.postgres import claims, ownership
from microlith.event_store.postgres.permission import MembershipLostError
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import LogEnd, PostgresSession
from microlith.event_store.protocol import ArrivedSettlement, Unit
from microlith.event_store.sharing import LedElsewhereError, Sharing
from microlith.messages import Event
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StockProjection, StoreUnderTest
from tests.crash.store_load import stock_on
from tests.crash.test_postgres_goes_away import EVERY_CONNECTION, items_of
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(120)]

PATIENCE = 60.0


class ItemLost(Event):
    """Something only newer code knows."""

    item: str


@pytest.fixture
def shared(postgres_schema) -> str:
    return f"{postgres_schema}&shared=yes"


@asynccontextmanager
async def opened(*stocks: StoreUnderTest, projections=(StockProjection,)):
    """Open stores, one after the other; close them in the same order."""
    try:
        for stock in stocks:
            await stock.store.open([make() for make in projections])
        yield
    finally:
        for stock in stocks:
            await stock.store.close()


def part_of(stock: StoreUnderTest) -> Sharing:
    """Return a store's part in what is shared."""
    assert stock.store.sharing is not None
    return stock.store.sharing


async def write(stock: StoreUnderTest, name: str, count: int) -> None:
    for number in range(count):
        await stock.store_items(f"{name}{number}", f"{name}{number}+")


async def test_all_that_share_commit_to_one_log_and_fold_into_the_same_rows(shared):
    first, second, third = stock_on(shared), stock_on(shared), stock_on(shared)
    async with opened(first, second, third):
        assert [one.store.leads for one in (first, second, third)] == [True, False, False]
        assert third.store.engine == first.store.engine != "PostgreSQL"
        await asyncio.gather(write(first, "a", 60), write(second, "b", 60), write(third, "c", 60))
        log = await third.whole_log()
        folded = [one.folded() for one in (first, second, third)]
        await eventually(lambda: second.store.reached("stock.items").checkpoint == len(log) - 1, PATIENCE)
        assert await second.store.verify() == len(log)

    assert [event.position for event in log] == list(range(360))
    assert len({event.message_id for event in log}) == 360
    assert folded == [360, 360, 360]
    assert [event.stream_position for event in log] == list(range(360))


async def test_what_others_write_while_one_begins_to_lead_is_folded_once(shared, monkeypatch):
    first, second, third = stock_on(shared), stock_on(shared), stock_on(shared)
    loop, catch_up = asyncio.get_running_loop(), Projections.catch_up

    def catches_up(projections: Projections, reader: LogReader, stop: Callable[[], bool]) -> None:
        asyncio.run_coroutine_threadsafe(write(third, "meanwhile", 3), loop).result(PATIENCE)
        catch_up(projections, reader, stop)

    async with opened(first, second, third):
        await write(first, "a", 2)
        await first.store.close()
        monkeypatch.setattr(Projections, "catch_up", catches_up)
        await asyncio.wait_for(part_of(second).lead(), PATIENCE)
        log = await third.whole_log()
        folded = [one.folded() for one in (second, third)]

    assert len(log) == 10
    assert folded == [10, 10]


async def test_each_hears_of_the_others_in_the_order_of_the_commits(shared):
    first, second = stock_on(shared), stock_on(shared)
    async with opened(first, second):
        heard: list[int] = []
        part_of(first).watch(heard.append)
        own: list[int] = []
        seen: list[tuple[int, int]] = []

        async def write_own() -> None:
            for number in range(50):
                [event] = await first.store_items(f"own{number}")
                own.append(event.position)
                seen.append((event.position, heard[-1] if heard else -1))

        await asyncio.gather(write_own(), write(second, "b", 50))
        log = await second.whole_log()
        await eventually(lambda: heard and heard[-1] == max(set(range(len(log))) - set(own)), PATIENCE)

    others = sorted(set(range(len(log))) - set(own))
    for position, told in seen:
        before = [one for one in others if one < position]
        assert not before or told >= before[-1], f"own {position} came before {before[-1]} was told"
    assert heard == sorted(heard)


async def test_the_same_check_catches_a_process_that_hears_of_others_only_when_it_writes_nothing(shared, monkeypatch):
    monkeypatch.setattr(PostgresSession, "_begin", _begin_without_learning(PostgresSession._begin))
    monkeypatch.setitem(globals(), "PATIENCE", 5.0)

    with pytest.raises(AssertionError, match=r"was told|did not happen"):
        await test_each_hears_of_the_others_in_the_order_of_the_commits(shared)


def _begin_without_learning(begin: Callable[[PostgresSession], None]) -> Callable[[PostgresSession], None]:
    """Plant a bug: what others wrote is taken over, and told only later."""

    def begins(session: PostgresSession) -> None:
        told, session.renew = session.renew, _told_later(session.renew)
        try:
            begin(session)
        finally:
            session.renew = told

    return begins


def _told_later(renew: Callable[[LogEnd], None]) -> Callable[[LogEnd], None]:
    def renews(end: LogEnd) -> None:
        writer = renew.__self__  # type: ignore[attr-defined]
        others, writer.others = writer.others, []
        renew(end)
        writer.others = others

    return renews


async def test_expected_positions_hold_across_processes(shared):
    first, second = stock_on(shared), stock_on(shared)
    async with opened(first, second):
        await first.append("shelf", "a", -1)
        with pytest.raises(PositionConflictError):
            await second.append("shelf", "b", -1)
        await second.append("shelf", "b", 0)
        with pytest.raises(PositionConflictError):
            await first.append("shelf", "c", 0)
        items = items_of(await first.store.read("shelf"))

    assert items == ["a", "b"]


async def test_command_that_comes_to_two_processes_has_its_effect_once(shared):
    first, second = stock_on(shared), stock_on(shared)
    command = correlated(CountStock())
    async with opened(first, second):
        settlement = ArrivedSettlement("stock.count", command, 7, None, 1, None)
        [one] = (await first.complete(Unit([correlated(ItemStored(item="a"))], settlement))).events
        again = await second.complete(Unit([correlated(ItemStored(item="b"))], settlement))
        items, known = items_of(await second.whole_log()), await second.store.arrived(command.message_id)

    assert one.position == 0
    assert again.events == ()
    assert items == ["a"]
    assert known == 7


async def test_process_that_shares_leads_at_once_when_the_leader_says_goodbye(shared, caplog):
    first, second = stock_on(shared), stock_on(shared)
    await first.store.open([StockProjection()])
    await second.store.open([StockProjection()])
    await first.record(CountStock(shelf="left"))
    leading = asyncio.create_task(part_of(second).lead())
    await asyncio.sleep(0.1)
    assert not leading.done()
    with pytest.raises(LedElsewhereError, match="leads"):
        await second.store.rebuild("stock.items", lambda _done, _all: None)
    await first.store.close()
    async with asyncio.timeout(ownership.GRACE_SECONDS - 1):
        await leading
    await second.store_items("second")
    pending = [one.envelope.message for one in await second.store.pending_commands()]
    rebuilt = await second.store.rebuild("stock.items", lambda _done, _all: None)
    third = stock_on(shared)
    await third.store.open([StockProjection()])
    await third.store_items("third")
    items = items_of(await second.whole_log())
    await third.store.close()
    await second.store.close()

    assert [getattr(one, "shelf", None) for one in pending] == ["left"]
    assert rebuilt.before == rebuilt.after
    assert items == ["second", "third"]
    assert "leads those that share" in caplog.text


async def test_owner_that_does_not_share_keeps_others_out_and_ends_those_that_did(postgres_schema, shared, caplog):
    owner, other = stock_on(postgres_schema), stock_on(shared)
    await owner.store.open()
    with pytest.raises(StoreLockedError, match="owned by process"):
        await other.store.open()
    await owner.store.close()
    leader, member, alone = stock_on(shared), stock_on(shared), stock_on(postgres_schema)
    await leader.store.open()
    await member.store.open()
    await leader.store.close()
    await alone.store.open()
    with pytest.raises(MembershipLostError, match="does not share"):
        await member.store_items("x")
    failure = member.store.failure
    await member.store.close()
    await alone.store.close()

    assert "does not share" in str(failure)


async def test_other_version_waits_until_it_leads_and_then_ends_the_old_ones(shared, caplog):
    old, left, new = stock_on(shared), stock_on(shared), stock_on(shared)
    new.types.add(ItemLost, "stock")
    await old.store.open()
    await left.store.open()
    opening = asyncio.create_task(new.store.open())
    await eventually(lambda: "stands by" in caplog.text, PATIENCE)
    await old.store_items("a")
    assert not opening.done()
    await old.store.close()
    await asyncio.wait_for(opening, PATIENCE)
    await new.record(ItemLost(item="b"))
    with pytest.raises(MembershipLostError, match="other message types"):
        await left.store_items("x")
    await left.store.close()
    await new.store.close()


async def test_lost_connections_leave_nobody_in_doubt_though_others_write(shared):
    first, second = stock_on(shared), stock_on(shared)
    async with opened(first, second):
        stop = asyncio.Event()

        async def cut() -> None:
            with psycopg.connect(Place.of(shared).url, autocommit=True) as admin:
                while not stop.is_set():
                    admin.execute(EVERY_CONNECTION)
                    await asyncio.sleep(0.15)

        cutting = asyncio.create_task(cut())
        await asyncio.gather(write(first, "a", 150), write(second, "b", 150))
        stop.set()
        await cutting
        log = await first.whole_log()
        failures = first.store.failure, second.store.failure

    assert failures == (None, None)
    assert len(log) == len({event.message_id for event in log}) == 600


async def test_no_two_processes_claim_a_key_and_who_waits_comes_next(shared):
    first, second, third = stock_on(shared), stock_on(shared), stock_on(shared)
    holding: dict[str, str] = {}
    turns: list[str] = []

    async def work(name: str, stock: StoreUnderTest, times: int, key: str) -> None:
        for _ in range(times):
            await part_of(stock).claim("stock.count", key)
            assert key not in holding, f"{name} has {key} beside {holding[key]}"
            holding[key] = name
            turns.append(name)
            await asyncio.sleep(0.001)
            del holding[key]
            part_of(stock).let_go("stock.count", key)

    async with opened(first, second, third):
        named = {"a": first, "b": second, "c": third}
        await asyncio.gather(*(work(name, stock, 40, key) for name, stock in named.items() for key in ("k", "l")))

    fair = [set(turns[at : at + 24]) for at in range(0, len(turns) - 48, 24)]
    assert all(len(names) > 1 for names in fair), "one kept a key from the others"


async def test_same_check_catches_claims_that_are_not_asked_for(shared, monkeypatch):
    async def take(*_: object) -> int:
        return 0

    monkeypatch.setattr(claims.Claims, "take", take)
    monkeypatch.setattr(claims.Claims, "let_go", lambda *_: None)

    with pytest.raises(AssertionError, match="beside"):
        await test_no_two_processes_claim_a_key_and_who_waits_comes_next(shared)


async def test_claim_goes_with_its_process_and_outlives_a_lost_connection(shared):
    first, second = stock_on(shared), stock_on(shared)
    await first.store.open()
    await second.store.open()
    await part_of(first).claim("stock.count", "k")
    with psycopg.connect(Place.of(shared).url, autocommit=True) as admin:
        admin.execute(EVERY_CONNECTION)
    await part_of(first).claim("stock.count", "l")
    waiting = asyncio.create_task(part_of(second).claim("stock.count", "k"))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await first.store.close()
    await asyncio.wait_for(waiting, PATIENCE)
    await second.store.close()


async def test_claim_that_nobody_waits_for_any_more_is_not_taken(shared):
    first, second, third = stock_on(shared), stock_on(shared), stock_on(shared)
    async with opened(first, second, third):
        await part_of(first).claim("stock.count", "k")
        given_up = asyncio.create_task(part_of(second).claim("stock.count", "k"))
        await asyncio.sleep(0.2)
        given_up.cancel()
        with suppress(asyncio.CancelledError):
            await given_up
        waiting = asyncio.create_task(part_of(third).claim("stock.count", "k"))
        part_of(first).let_go("stock.count", "k")
        await asyncio.wait_for(waiting, PATIENCE)


async def test_claim_tells_the_dead_letters_of_its_key(shared):
    first, second = stock_on(shared), stock_on(shared)
    command = correlated(CountStock())
    async with opened(first, second):
        await part_of(first).claim("stock.count", "k")
        waiting = asyncio.create_task(part_of(second).claim("stock.count", "k"))
        await asyncio.sleep(0.1)
        await first.complete(Unit([], ArrivedSettlement("stock.count", command, 7, "no shelf", 1, "k")))
        part_of(first).let_go("stock.count", "k")
        letters = await asyncio.wait_for(waiting, PATIENCE)
        others = await part_of(second).claim("stock.count", "l")

    assert (letters, others) == (1, 0)


def test_urls_say_it_in_one_word(postgres_schema):
    assert Place.of(f"{postgres_schema}&shared=yes").shared
    for wrong, why in (("shared=maybe", "yes or no"), ("shared=yes&standby=yes", "leave standby out")):
        with pytest.raises(ValueError, match=why):
            Place.of(f"{postgres_schema}&{wrong}")
