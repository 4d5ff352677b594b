"""What a store promises about projections: one commit with the event, one failure alone, rebuilt beside the live one."""

import asyncio

import pytest

from microlith.errors import HandlerFailedError, UnknownProjectionError
from microlith.event_store.protocol import ProjectionState
from microlith.testing.event_store_contract.stock import (
    ITEMS,
    CountStock,
    ItemStored,
    ItemTaken,
    KeyCut,
    StockProjection,
    StoreUnderTest,
)

NAME = StockProjection.name


def ignore(_done: int, _total: int) -> None:
    """Take no notice of progress."""


class ProjectingContract:
    """Rows, failures, catching up and rebuilding."""

    async def test_row_is_there_when_the_writer_is_told(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())

        await event_store.record(ItemStored(item="nut", amount=3, shelf="B"))

        assert event_store.store.rows.get(ITEMS, "nut") == b'{"item":"nut","amount":3,"shelf":"B"}'
        assert event_store.store.rows.get(ITEMS, "bolt") is None

    async def test_rows_are_found_by_their_columns_and_by_key(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        for item, shelf, amount in (("c", "B", 1), ("a", "B", 2), ("b", "A", 1), ("d", "B", 1)):
            await event_store.record(ItemStored(item=item, shelf=shelf, amount=amount))
        rows = event_store.store.rows

        on_b = rows.find(ITEMS, {"shelf": "B"}, 2)

        assert on_b == [rows.get(ITEMS, "a"), rows.get(ITEMS, "c")]
        assert rows.find(ITEMS, {"shelf": "B", "amount": 2}, 10) == [rows.get(ITEMS, "a")]
        assert rows.find(ITEMS, {"item": "b"}, 10) == [rows.get(ITEMS, "b")]
        assert len(rows.find(ITEMS, {}, 10)) == 4
        assert (rows.count(ITEMS, {}), rows.count(ITEMS, {"shelf": "B"}), rows.count(ITEMS, {"shelf": "C"})) == (
            4,
            3,
            0,
        )

    async def test_row_is_replaced_and_deleted(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.record(ItemStored(item="nut", shelf="A"))
        await event_store.record(ItemStored(item="nut", shelf="B"))

        moved = event_store.store.rows.count(ITEMS, {"shelf": "A"}), event_store.store.rows.count(ITEMS, {"shelf": "B"})
        await event_store.record(ItemTaken(item="nut"))

        assert moved == (0, 1)
        assert event_store.store.rows.count(ITEMS, {}) == 0

    async def test_projection_stands_at_the_head(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.store_items("nut", "bolt")
        await event_store.record(KeyCut(number="1"))  # type: ignore[arg-type]  # not taken by the projection
        await event_store.record(CountStock())

        (state,) = await event_store.store.projection_states()

        assert facts(state) == (NAME, 2, None, 3)

    async def test_projection_that_raises_stops_alone(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection(fails_on="bolt"))
        await event_store.store_items("nut")

        await event_store.store_items("washer", "bolt", "screw")
        await event_store.store_items("rivet")

        (state,) = await event_store.store.projection_states()
        assert facts(state) == (NAME, 1, "ValueError: no room for bolt", 3)
        assert event_store.store.rows.get(ITEMS, "screw") is None
        assert await event_store.store.head() == 4

    async def test_event_that_fails_leaves_no_row(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection(fails_on="bolt"))

        await event_store.store_items("nut", "bolt")

        assert event_store.folded() == 1

    async def test_stopped_projection_goes_on_when_it_is_mended(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection(fails_on="bolt"))
        await event_store.store_items("nut", "bolt", "screw")

        await event_store.reopen(StockProjection())

        (state,) = await event_store.store.projection_states()
        assert facts(state) == (NAME, 2, None, 4)
        assert event_store.folded() == 3

    async def test_new_projection_is_caught_up(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items(*(f"item {number}" for number in range(2500)))

        await event_store.reopen(StockProjection())

        assert event_store.folded() == 2500

    async def test_catching_up_stops_at_the_event_that_fails(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items("nut", "bolt", "screw")

        await event_store.reopen(StockProjection(fails_on="bolt"))

        (state,) = await event_store.store.projection_states()
        assert facts(state) == (NAME, 0, "ValueError: no room for bolt", 2)

    async def test_changed_projection_is_built_anew_when_opened(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection("1"))
        await event_store.store_items("nut", "bolt")

        await event_store.reopen(StockProjection("2"))

        assert event_store.folded() == 2

    async def test_rebuilt_projection_has_equal_rows(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.store_items(*(f"item {number}" for number in range(100)))
        told: list[tuple[int, int]] = []

        rebuilt = await event_store.store.rebuild(NAME, lambda done, total: told.append((done, total)))

        assert (rebuilt.name, rebuilt.events) == (NAME, 100)
        assert rebuilt.before == rebuilt.after
        assert told[-1] == (100, 100)
        assert event_store.folded() == 100

    async def test_rebuilding_shows_that_rows_differed(self, event_store: StoreUnderTest) -> None:
        projection = StockProjection(fails_on="bolt")
        await event_store.reopen(projection)
        await event_store.store_items("nut", "bolt")
        projection.fails_on = None

        rebuilt = await event_store.store.rebuild(NAME, ignore)
        again = await event_store.store.rebuild(NAME, ignore)

        assert rebuilt.before != rebuilt.after
        assert again.before == again.after == rebuilt.after
        (state,) = await event_store.store.projection_states()
        assert facts(state) == (NAME, 1, None, 3)

    async def test_rebuilding_under_writes_takes_each_event_once(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.store_items(*(f"item {number}" for number in range(3000)))

        rebuilding = asyncio.ensure_future(event_store.store.rebuild(NAME, ignore))
        written = 0
        while not rebuilding.done():
            await event_store.store_items("more")
            await asyncio.sleep(0)
            written += 1
        await event_store.store_items("last")

        rebuilt = await rebuilding
        assert rebuilt.before == rebuilt.after
        assert event_store.folded() == 3000 + written + 1

    async def test_interrupted_rebuilding_leaves_the_old_rows(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        await event_store.store_items(*(f"item {number}" for number in range(3000)))
        begun = asyncio.Event()
        rebuilding = asyncio.ensure_future(event_store.store.rebuild(NAME, lambda _done, _total: begun.set()))
        await begun.wait()

        rebuilding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rebuilding

        await event_store.store_items("more")
        assert event_store.folded() == 3001
        assert (await event_store.store.rebuild(NAME, ignore)).events == 3001

    async def test_rebuilding_that_fails_leaves_the_old_rows(self, event_store: StoreUnderTest) -> None:
        projection = StockProjection()
        await event_store.reopen(projection)
        await event_store.store_items("nut", "bolt")
        projection.fails_on = "bolt"

        with pytest.raises(HandlerFailedError):
            await event_store.store.rebuild(NAME, ignore)

        assert event_store.folded() == 2

    async def test_unknown_projection_is_not_rebuilt(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())

        with pytest.raises(UnknownProjectionError) as caught:
            await event_store.store.rebuild("stock.item", ignore)

        assert caught.value.hint == "Did you mean 'stock.items'?"


def facts(state: ProjectionState) -> tuple[str, int, str | None, int]:
    """A projection's state, to be compared."""
    return state.name, state.checkpoint, state.error, state.rows
