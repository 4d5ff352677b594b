"""What a store promises about projections that are not inline: they follow in order, alone, and slow nobody."""

import asyncio

import pytest

from microlith.errors import UnknownProjectionError
from microlith.event_store.projecting import Reached
from microlith.testing.event_store_contract.stock import (
    COUNTS,
    ITEMS,
    CountStock,
    StockProjection,
    StoreUnderTest,
)

NAME = StockProjection.name


def follower(fails_on: str | None = None) -> StockProjection:
    """The projection of the stock, not inline."""
    return StockProjection(fails_on=fails_on, inline=False)


async def advance_to_end(stock: StoreUnderTest, limit: int = 500) -> Reached:
    """Advance until nothing changes any more."""
    before, reached = None, await stock.store.advance(NAME, limit)
    while reached != before:
        before, reached = reached, await stock.store.advance(NAME, limit)
    return reached


class FollowingContract:
    """Advancing, stopping, going on, watching."""

    async def test_projection_that_is_not_inline_stands_still_until_it_is_advanced(
        self, event_store: StoreUnderTest
    ) -> None:
        await event_store.reopen(follower())
        await event_store.store_items("nut", "bolt")

        before = event_store.store.reached(NAME), event_store.folded()
        after = await event_store.store.advance(NAME)

        assert before == (Reached(-1), 0)
        assert after == event_store.store.reached(NAME) == Reached(1)
        assert event_store.folded() == 2

    async def test_it_advances_a_page_at_a_time_in_order(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(follower())
        await event_store.store_items(*(f"item {number}" for number in range(700)))

        reached = [(await event_store.store.advance(NAME, 300)).checkpoint for _ in range(4)]

        assert reached == [299, 599, 699, 699]
        assert event_store.folded() == 700

    async def test_one_that_raises_stops_before_the_event_and_leaves_no_trace_of_it(
        self, event_store: StoreUnderTest, caplog: pytest.LogCaptureFixture
    ) -> None:
        await event_store.reopen(follower(fails_on="bolt"))
        await event_store.store_items("nut", "washer", "bolt", "screw")

        reached = await advance_to_end(event_store)
        await event_store.store_items("rivet")

        assert reached == await advance_to_end(event_store) == Reached(1, "ValueError: no room for bolt")
        assert event_store.folded() == 2
        assert event_store.store.rows.get(ITEMS, "screw") is None
        assert [record.getMessage() for record in caplog.records] == [
            f"Projection {NAME} stopped before position 2, ItemStored: ValueError: no room for bolt"
        ]

    async def test_stopped_one_goes_on_when_it_is_mended(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(follower(fails_on="bolt"))
        await event_store.store_items("nut", "bolt", "screw")
        await advance_to_end(event_store)

        await event_store.reopen(follower())

        assert await advance_to_end(event_store) == Reached(2)
        assert event_store.folded() == 3

    async def test_stopped_one_goes_on_when_it_is_built_anew(self, event_store: StoreUnderTest) -> None:
        projection = follower(fails_on="bolt")
        await event_store.reopen(projection)
        await event_store.store_items("nut", "bolt", "screw")
        await advance_to_end(event_store)
        projection.fails_on = None

        rebuilt = await event_store.store.rebuild(NAME, lambda _done, _total: None)
        await event_store.store_items("rivet")

        assert rebuilt.before != rebuilt.after
        assert await advance_to_end(event_store) == Reached(3)
        assert event_store.folded() == 4

    async def test_it_takes_each_event_once_under_writes_and_rebuilds(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(follower())
        await event_store.store_items(*(f"item {number}" for number in range(1500)))

        async def write() -> None:
            for number in range(50):
                await event_store.store_items(f"more {number}")
                await asyncio.sleep(0)

        async def rebuild() -> None:
            await event_store.store.rebuild(NAME, lambda _done, _total: None)

        await asyncio.gather(write(), rebuild(), advance_to_end(event_store), advance_to_end(event_store, 70))

        assert await advance_to_end(event_store) == Reached(1549)
        assert event_store.folded() == 1550

    async def test_inline_one_is_not_advanced(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.store_items("nut")

        assert await event_store.store.advance(NAME) == event_store.store.reached(NAME) == Reached(0)
        assert event_store.folded() == 1

    async def test_projection_that_becomes_inline_is_caught_up(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(follower())
        await event_store.store_items("nut", "bolt", "screw")
        await event_store.store.advance(NAME, 1)

        await event_store.reopen(StockProjection())

        assert event_store.store.reached(NAME) == Reached(2)
        assert event_store.folded() == 3

    async def test_who_watches_is_told_of_events_and_of_nothing_else(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen()
        told = asyncio.Event()
        event_store.store.watch(told.set)

        await event_store.record(CountStock())
        await event_store.store.flush()
        await asyncio.sleep(0.01)
        before = told.is_set()
        await event_store.store_items("nut")
        await asyncio.wait_for(told.wait(), 5)

        assert not before

    async def test_how_far_one_has_come_that_keeps_its_rows_elsewhere_is_noted(
        self, event_store: StoreUnderTest
    ) -> None:
        await event_store.reopen(follower())
        await event_store.store_items("nut", "bolt")

        await event_store.store.note_reached(NAME, 0, "ValueError: no")
        (state,) = await event_store.store.projection_states()

        assert event_store.store.reached(NAME) == Reached(0, "ValueError: no")
        assert (state.checkpoint, state.error) == (0, "ValueError: no")
        assert event_store.store.rows.count(COUNTS, {}) == 0

    async def test_unknown_one_is_refused(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(follower())

        for ask in (event_store.store.advance, lambda name: event_store.store.note_reached(name, 0)):
            with pytest.raises(UnknownProjectionError):
                await ask("stock.item")
        with pytest.raises(UnknownProjectionError):
            event_store.store.reached("stock.item")
