"""What becomes of a projection's rows in a SQLite store when its rows or events have changed."""

import pytest

from microlith.event_store.protocol import Reached, TableSpec
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.testing.event_store_contract.stock import COUNTS, ITEMS, StockProjection, StoreUnderTest


@pytest.fixture
async def stock(tmp_path):
    stock = StoreUnderTest(lambda types: SQLiteEventStore(tmp_path / "events.db", types))
    await stock.store.open()
    yield stock
    await stock.store.close()


class ShelfProjection(StockProjection):
    """The stock with an index less: a table that cannot be asked as the one before."""

    def __init__(self, fingerprint: str, *, inline: bool) -> None:
        super().__init__(fingerprint, inline=inline)
        self.tables = (TableSpec(ITEMS.name, ITEMS.key, ITEMS.key_type, ("shelf",)), COUNTS)

    def apply(self, event, rows):
        rows.put(self.tables[0], event.message.item, b"{}", {"shelf": event.message.shelf})


async def test_rows_of_a_changed_projection_serve_until_the_new_ones_are_built(stock):
    await stock.reopen(StockProjection("1", inline=False))
    await stock.store_items("nut", "bolt")
    await stock.store.advance(StockProjection.name)

    await stock.reopen(StockProjection("2", inline=False))
    before = stock.folded(), stock.store.reached(StockProjection.name)
    await stock.store.advance(StockProjection.name)

    assert before == (2, Reached(-1))
    assert (stock.folded(), stock.store.reached(StockProjection.name)) == (2, Reached(1))


@pytest.mark.parametrize("inline", [True, False])
async def test_changed_projection_that_raises_keeps_its_old_rows_until_it_is_mended(stock, caplog, inline):
    await stock.reopen(StockProjection("1", inline=inline))
    await stock.store_items("nut", "bolt")
    await stock.store.advance(StockProjection.name)

    await stock.reopen(StockProjection("2", fails_on="bolt", inline=inline))
    reached = await stock.store.advance(StockProjection.name)
    await stock.store_items("screw")
    again = await stock.store.advance(StockProjection.name)
    kept = stock.folded()
    await stock.reopen(StockProjection("2", inline=inline))
    mended = await stock.store.advance(StockProjection.name)

    assert reached == again
    assert reached.checkpoint == 1
    assert "the old ones stay" in reached.error
    assert "ItemStored at position 1: no room for bolt" in reached.error
    assert len(caplog.records) == 1
    assert (kept, mended, stock.folded()) == (2, Reached(2), 3)


@pytest.mark.parametrize("inline", [True, False])
async def test_projection_whose_tables_changed_can_be_asked_at_once(stock, inline):
    await stock.reopen(StockProjection("1", inline=inline))
    await stock.store_items("nut", "bolt")
    await stock.store.advance(StockProjection.name)

    projection = ShelfProjection("2", inline=inline)
    await stock.reopen(projection)
    at_once = stock.store.rows.count(projection.tables[0], {"shelf": "A"})
    await stock.store.advance(StockProjection.name)

    assert at_once == (2 if inline else 0)
    assert stock.store.rows.count(projection.tables[0], {"shelf": "A"}) == 2


async def test_change_that_is_taken_back_costs_nothing(stock):
    await stock.reopen(StockProjection("1"))
    await stock.store_items("nut", "bolt")
    await stock.reopen(StockProjection("2", fails_on="bolt"))

    await stock.reopen(StockProjection("1"))

    assert stock.store.reached(StockProjection.name) == Reached(1)
    assert stock.folded() == 2
