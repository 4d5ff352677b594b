"""What a store promises about reading, closing and opening again."""

import asyncio

from microlith.context import correlated
from microlith.event_store.protocol import Settlement, Unit
from microlith.testing.event_store_contract.stock import (
    ITEMS,
    CountStock,
    ItemStored,
    ItemTaken,
    StockProjection,
    StoreUnderTest,
    all_facts,
)


class ReadingContract:
    """Pages, filters, correlations, checking, and what is there after a restart."""

    async def test_log_is_read_in_pages(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items(*(f"item {number}" for number in range(10)))

        pages = [await event_store.store.read_all(after=after, limit=4) for after in (-1, 3, 7, 9)]

        assert [[event.position for event in page] for page in pages] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]

    async def test_stream_is_read_in_pages(self, event_store: StoreUnderTest) -> None:
        for number in range(5):
            await event_store.append("order-42", f"item {number}")
            await event_store.append("other", "nut")

        page = await event_store.store.read("order-42", after=1, limit=2)

        assert [event.stream_position for event in page] == [2, 3]

    async def test_unknown_stream_is_empty(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items("nut")

        assert await event_store.store.read("nowhere") == []

    async def test_log_is_read_by_type(self, event_store: StoreUnderTest) -> None:
        for _ in range(3):
            await event_store.record(ItemStored(item="nut"))
            await event_store.record(ItemTaken(item="nut"))

        taken = await event_store.store.read_all(after=1, limit=2, types=["ItemTaken", "Unheard"])

        assert [(event.type, event.position) for event in taken] == [("ItemTaken", 3), ("ItemTaken", 5)]
        assert await event_store.store.read_all(types=["Unheard"]) == []

    async def test_correlation_is_read_in_order_and_alone(self, event_store: StoreUnderTest) -> None:
        first = correlated(ItemStored(item="nut"))
        other = correlated(ItemTaken(item="nut"))
        other.correlation_id = first.correlation_id
        await event_store.record(first)
        await event_store.store_items("bolt")
        await event_store.record(other)

        events = await event_store.store.read_correlation(first.correlation_id)

        assert [event.message_id for event in events] == [first.message_id, other.message_id]
        assert await event_store.store.read_correlation("unheard") == []

    async def test_read_event_has_its_envelope(self, event_store: StoreUnderTest) -> None:
        sent = correlated(ItemStored(item="nut"), headers={"tenant": "one"})
        await event_store.record(sent)

        (event,) = await event_store.whole_log()

        envelope = event.envelope
        assert (envelope.message, envelope.message_id, envelope.correlation_id, envelope.headers) == (
            sent.message,
            sent.message_id,
            sent.correlation_id,
            {"tenant": "one"},
        )

    async def test_verify_counts_the_events(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items(*(f"item {number}" for number in range(20)))
        told: list[tuple[int, int]] = []

        checked = await event_store.store.verify(lambda done, total: told.append((done, total)))

        assert checked == 20
        assert told[-1] == (20, 20)

    async def test_store_is_closed_twice(self, event_store: StoreUnderTest) -> None:
        await event_store.store.close()
        await event_store.store.close()

    async def test_close_finishes_what_was_handed_in(self, event_store: StoreUnderTest) -> None:
        writes = [asyncio.ensure_future(event_store.store_items(f"item {number}")) for number in range(20)]
        await asyncio.sleep(0)

        await event_store.reopen()

        await asyncio.gather(*writes)
        assert len(await event_store.whole_log()) == 20

    async def test_store_opened_again_has_everything(self, event_store: StoreUnderTest) -> None:
        await event_store.reopen(StockProjection())
        command = await event_store.pending_command()
        await event_store.store_items("nut", "bolt")
        before = await event_store.whole_log()
        event_store.settle("stock.notice", before[1], checkpoint=-1, error="no")
        await event_store.store.checkpoint("stock.other", start=1)

        await event_store.reopen(StockProjection())

        store = event_store.store
        assert all_facts(await event_store.whole_log()) == all_facts(before)
        assert [one.envelope.message_id for one in await store.pending_commands()] == [command.message_id]
        assert await store.checkpoint("stock.notice", start=0) == (-1, frozenset({1}))
        assert await store.checkpoint("stock.other", start=0) == (1, frozenset())
        assert await store.failure_of(before[1].correlation_id) == ("stock.notice", "ItemStored", "no")
        assert store.rows.count(ITEMS, {}) == 2

    async def test_store_opened_again_carries_on_where_it_was(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")

        await event_store.reopen()
        event = await event_store.append("order-42", "bolt", expected=0)

        assert (event.position, event.stream_position) == (1, 1)
        assert await event_store.store.verify() == 2

    async def test_store_opened_again_knows_what_it_recorded(self, event_store: StoreUnderTest) -> None:
        event, command, late = correlated(ItemStored(item="nut")), correlated(CountStock()), correlated(CountStock())
        await event_store.record(event)
        await event_store.record(command)
        await event_store.record(late)
        await event_store.complete(Unit([], Settlement("stock.count", command)))

        await event_store.reopen()
        again = [await event_store.record(one) for one in (event, command, late)]

        assert [list(one.duplicates) for one in again] == [
            [event.message_id],
            [command.message_id],
            [late.message_id],
        ]
        assert [one.envelope.message_id for one in await event_store.store.pending_commands()] == [late.message_id]
