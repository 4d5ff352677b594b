"""What every store in a database does, beyond the contract: it notices what was changed behind its back.

    class TestMyDatabase(DatabaseContract):
        @pytest.fixture
        def make(self): ...      # from message types to a store, on the same place each time

        @pytest.fixture
        def ask(self): ...       # runs a statement beside the store, and returns its rows

In statements, `<7b7d>` stands for bytes.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import CorruptionError, StoreError, StoreUnavailableError, UnsafePayloadError
from microlith.event_store.database import store, writer
from microlith.event_store.database.store import StoreBusyError
from microlith.event_store.protocol import Settlement, Unit
from microlith.event_store.records import StreamNameError
from microlith.messages import Event
from microlith.serialization import MessageTypes
from microlith.testing.event_store_contract.stock import (
    ITEMS,
    CountStock,
    ItemStored,
    StockProjection,
    StoreUnderTest,
    all_facts,
)
from tests.eventually import eventually

Ask = Callable[[str], list[Any]]


def with_bytes(text: str, before: str, after: str) -> str:
    """Write the bytes of a statement as one database writes them."""
    return re.sub(r"<([0-9a-f]*)>", lambda found: f"{before}{found[1]}{after}", text)


async def store_each(stock: StoreUnderTest, *items: str) -> None:
    """Write each item in a commit of its own, so that damage is not at the end of the log."""
    for item in items:
        await stock.store_items(item)


class ItemFound(Event, formerly=("ItemStored",)):
    """The name by which ItemStored is known later."""

    item: str
    amount: int = 1
    shelf: str = "A"


class DatabaseContract:
    """Derive a class whose name begins with Test and give it the fixtures `make` and `ask`."""

    @pytest.fixture
    async def stock(self, make):
        stock = StoreUnderTest(make)
        await stock.store.open()
        yield stock
        await stock.store.close()

    async def test_newer_format_is_refused(self, ask: Ask, stock: StoreUnderTest):
        await stock.store.close()
        ask("UPDATE meta SET value = '2' WHERE name = 'schema'")

        with pytest.raises(StoreError, match="format 2"):
            await stock.reopen()

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE events SET data = <7b7d> WHERE position = 1",
            "UPDATE events SET head = replace(head, 'stock', 'stick') WHERE position = 1",
            "UPDATE events SET kind = kind + 1 WHERE position = 1",
            "UPDATE events SET kind = 999 WHERE position = 1",
        ],
    )
    async def test_changed_event_is_not_served(self, ask: Ask, stock: StoreUnderTest, damage: str):
        await store_each(stock, "nut", "bolt", "screw", "rivet")
        await stock.store.close()
        ask(damage)
        await stock.reopen()

        with pytest.raises(CorruptionError, match="position 1"):
            await stock.whole_log()
        assert len(await stock.store.read_all(limit=1)) == 1
        with pytest.raises(CorruptionError, match="position 1"):
            await stock.store.verify()

    async def test_type_of_another_name_is_noticed_when_opened(self, ask: Ask, stock: StoreUnderTest):
        await stock.store_items("nut")
        await stock.store.close()
        ask("UPDATE types SET type = 'ItemStolen' WHERE type = 'ItemStored'")

        with pytest.raises(CorruptionError):
            await stock.reopen()

    async def test_missing_event_is_noticed(self, ask: Ask, stock: StoreUnderTest):
        await store_each(stock, *"abcde")
        await stock.store.close()
        ask("DELETE FROM events WHERE position = 2")
        await stock.reopen()

        for read in (stock.whole_log, lambda: stock.store.read("stock"), stock.store.verify):
            with pytest.raises(CorruptionError, match="position 2"):
                await read()

    async def test_exchanged_events_are_noticed(self, ask: Ask, stock: StoreUnderTest):
        await store_each(stock, *"abcdef")
        await stock.store.close()
        for old, new in ((1, 9), (2, 1), (9, 2)):
            ask(f"UPDATE events SET position = {new} WHERE position = {old}")
        await stock.reopen()

        with pytest.raises(CorruptionError, match="position 1"):
            await stock.whole_log()

    @pytest.mark.parametrize("checksum", [f"<{'00' * 16}>", "<>"])
    async def test_rewritten_event_is_noticed_by_the_chain(self, ask: Ask, stock: StoreUnderTest, checksum: str):
        await store_each(stock, *"abcd")
        await stock.store.close()
        ask(f"UPDATE events SET checksum = {checksum} WHERE position = 1")
        await stock.reopen()

        assert len(await stock.whole_log()) == 4
        with pytest.raises(CorruptionError, match=r"position [12]"):
            await stock.store.verify()

    async def test_damaged_end_is_noticed_when_opened(self, ask: Ask, stock: StoreUnderTest):
        await stock.store_items(*"abcd")
        await stock.store.close()
        ask("UPDATE events SET data = <7b7d> WHERE position = 3")

        with pytest.raises(CorruptionError, match="position 3"):
            await stock.reopen()

    async def test_log_that_lost_its_end_is_noticed_when_opened(self, ask: Ask, stock: StoreUnderTest):
        events = await stock.store_items(*"abcd")
        stock.settle("stock.count", events[3], checkpoint=3)
        await stock.store.close()
        ask("DELETE FROM events WHERE position = 3")

        with pytest.raises(CorruptionError, match="position 3"):
            await stock.reopen()

    async def test_damaged_command_is_not_handled(self, ask: Ask, stock: StoreUnderTest):
        await stock.pending_command()
        await stock.store.close()
        ask("UPDATE commands SET data = <7b7d>")
        await stock.reopen()

        with pytest.raises(CorruptionError, match="command 1"):
            await stock.store.pending_commands()

    async def test_settled_command_leaves_nothing_of_its_content(self, ask: Ask, stock: StoreUnderTest):
        command = correlated(CountStock(shelf="a very secret shelf"))
        await stock.record(command)
        stock.store.settle(Settlement("stock.count", command))
        await stock.store.flush()

        rows = ask("SELECT * FROM commands")

        assert "secret" not in str(rows)
        assert len(rows) == 1

    async def test_settlement_is_written_soon_without_other_writes(self, ask: Ask, stock: StoreUnderTest):
        (event,) = await stock.store_items("nut")

        stock.settle("stock.count", event, checkpoint=0)

        await eventually(lambda: ask("SELECT * FROM checkpoints") == [("stock.count", 0)], 5.0)

    async def test_renamed_event_is_read_under_its_new_name(self, make, stock: StoreUnderTest):
        before = await stock.store_items("nut")
        await stock.store.close()
        later_types = MessageTypes()
        later_types.add(ItemFound, "stock")
        later = StoreUnderTest(lambda _: make(later_types))

        await later.store.open()
        (event,) = await later.store.read_all(types=["ItemFound"])
        await later.store.close()

        assert (event.type, event.message) == ("ItemFound", ItemFound(item="nut"))
        assert event.message_id == before[0].message_id

    async def test_command_that_fits_no_class_becomes_a_dead_letter(self, make, stock: StoreUnderTest):
        command = await stock.pending_command()
        await stock.store.close()
        later = make(MessageTypes())

        await later.open()
        pending = await later.pending_commands()
        letters = await later.dead_letters()
        await later.close()

        assert pending == []
        assert [(letter.handler, letter.message_id, letter.type) for letter in letters] == [
            ("", command.message_id, "CountStock")
        ]

    async def test_bad_message_is_refused_and_spoils_nothing(self, stock: StoreUnderTest):
        with pytest.raises(UnsafePayloadError):
            await stock.complete(Unit([correlated(ItemStored(item="nut")), correlated(ItemStored(item="\ud800"))]))
        with pytest.raises(StreamNameError):
            await stock.append("a\0b", "nut")
        with pytest.raises(UnsafePayloadError):
            await stock.record(correlated(ItemStored(item="nut"), headers={"tenant": "\0"}))

        assert await stock.store_items("bolt")
        assert len(await stock.whole_log()) == 1

    async def test_odd_command_from_elsewhere_is_settled_and_spoils_nothing(self, stock: StoreUnderTest):
        odd = Envelope(CountStock(), "\ud800\0", "\ud800", None, float("nan"))

        stock.store.settle(Settlement("stock.count", odd, error="\ud800"))
        again = await stock.complete(Unit([correlated(ItemStored(item="nut"))], Settlement("stock.count", odd)))

        assert again.events == ()
        assert len(await stock.store.dead_letters()) == 1
        assert await stock.store_items("bolt")

    async def test_text_that_nothing_has_finds_nothing(self, stock: StoreUnderTest):
        await stock.store_items("nut")

        for text in ("a\0b", "\ud800", "", "%", "x" * 100_000):
            assert await stock.store.read(text) == []
            assert await stock.store.newest(text) is None
            assert await stock.store.read_correlation(text) == []
            assert not await stock.store.is_recorded(text)
            assert await stock.store.failure_of(text) is None
            assert await stock.store.first_letter("stock.count", text) is None
            assert await stock.store.schedule(text) is None

    async def test_writes_after_closing_are_refused(self, stock: StoreUnderTest):
        await stock.store.close()

        with pytest.raises(StoreUnavailableError, match="closed"):
            await stock.store_items("nut")
        with pytest.raises(StoreUnavailableError, match="closed"):
            await stock.whole_log()

    async def test_writes_from_outside_are_refused_when_too_many_wait(
        self, stock: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(store, "WAITING_LIMIT", 10)
        command = await stock.pending_command()
        writes = [asyncio.ensure_future(stock.record(ItemStored(item=f"item {number}"))) for number in range(20)]
        await asyncio.sleep(0)

        from_handler = await stock.complete(
            Unit([correlated(ItemStored(item="nut"))], Settlement("stock.count", command))
        )
        outcomes = await asyncio.gather(*writes, return_exceptions=True)

        assert len(from_handler.events) == 1
        assert [isinstance(outcome, StoreBusyError) for outcome in outcomes] == [False] * 10 + [True] * 10

    async def test_batch_is_split_at_its_limit(self, stock: StoreUnderTest, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(writer, "_MOST_WRITES", 7)

        await asyncio.gather(*(stock.store_items(f"item {number}") for number in range(50)))

        assert [event.position for event in await stock.whole_log()] == list(range(50))
        assert await stock.store.verify() == 50

    async def test_store_is_read_from_many_threads(self, stock: StoreUnderTest):
        await stock.reopen(StockProjection())
        await stock.store_items(*(f"item {number}" for number in range(100)))

        counts = await asyncio.gather(
            *(asyncio.to_thread(stock.store.rows.count, ITEMS, {"shelf": "A"}) for _ in range(50)),
        )

        assert counts == [100] * 50

    async def test_big_page_is_read_like_small_ones(self, stock: StoreUnderTest):
        await stock.store_items(*(f"item {number}" for number in range(1500)))

        big = await stock.store.read_all(limit=2000)
        small = [
            event for after in range(-1, 1499, 500) for event in await stock.store.read_all(after=after, limit=500)
        ]

        assert all_facts(big) == all_facts(small)
