"""What a store promises about units whose events go to several streams, and about finding the end of a stream."""

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import PositionConflictError
from microlith.event_store.protocol import Place, Settlement, Unit
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StoreUnderTest, facts


class PlacingContract:
    """Places of single events, the newest event of a stream, and ids that are in the log."""

    async def test_events_of_one_unit_go_to_their_own_streams(self, event_store: StoreUnderTest) -> None:
        nut, bolt, washer = (correlated(ItemStored(item=item)) for item in ("nut", "bolt", "washer"))
        places = {bolt.message_id: Place("order-42", -1), washer.message_id: Place("order-43")}

        committed = await event_store.complete(Unit([nut, bolt, washer], places=places))

        log = await event_store.whole_log()
        assert [(event.position, event.stream, event.stream_position) for event in log] == [
            (0, "stock", 0),
            (1, "order-42", 0),
            (2, "order-43", 0),
        ]
        assert [event.message_id for event in committed.events] == [one.message_id for one in (nut, bolt, washer)]

    async def test_stale_place_refuses_the_whole_unit(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")
        command = await event_store.pending_command()
        first, second = correlated(ItemStored(item="bolt")), correlated(ItemStored(item="washer"))
        unit = Unit(
            [first, correlated(CountStock()), second],
            Settlement("stock.count", command),
            places={second.message_id: Place("order-42", -1)},
        )

        with pytest.raises(PositionConflictError) as caught:
            await event_store.complete(unit)

        assert (caught.value.expected_position, caught.value.actual_position) == (-1, 0)
        pending = await event_store.store.pending_commands()
        assert [one.envelope.message_id for one in pending] == [command.message_id]
        assert len(await event_store.whole_log()) == 1

    async def test_place_expects_what_was_there_before_the_unit(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")
        envelopes = [correlated(ItemStored(item=item)) for item in ("bolt", "washer")]
        unit = Unit(envelopes, places={one.message_id: Place("order-42", 0) for one in envelopes})

        committed = await event_store.complete(unit)

        assert [event.stream_position for event in committed.events] == [1, 2]

    async def test_unit_with_a_place_checks_its_own_stream_too(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")
        placed, other = correlated(ItemStored(item="bolt")), correlated(ItemStored(item="washer"))
        unit = Unit([placed, other], None, "order-42", -1, {placed.message_id: Place("order-43", -1)})

        with pytest.raises(PositionConflictError) as caught:
            await event_store.complete(unit)

        assert caught.value.actual_position == 0
        assert len(await event_store.whole_log()) == 1

    async def test_placed_unit_sent_again_is_a_duplicate_and_no_conflict(self, event_store: StoreUnderTest) -> None:
        placed = correlated(ItemStored(item="nut"))
        unit = Unit([placed], places={placed.message_id: Place("order-42", -1)})
        await event_store.complete(unit)

        again = await event_store.complete(unit)

        assert list(again.duplicates) == [placed.message_id]
        assert len(await event_store.whole_log()) == 1

    async def test_place_of_a_command_changes_nothing(self, event_store: StoreUnderTest) -> None:
        command: Envelope[CountStock] = correlated(CountStock())

        await event_store.complete(Unit([command], places={command.message_id: Place("order-42", 7)}))

        assert [one.envelope.message_id for one in await event_store.store.pending_commands()] == [command.message_id]
        assert await event_store.store.newest("order-42") is None

    async def test_newest_event_of_a_stream_is_its_last(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")
        last = await event_store.append("order-42", "bolt")
        await event_store.append("order-43", "washer")

        newest = await event_store.store.newest("order-42")

        assert newest is not None
        assert facts(newest) == facts(last)
        assert await event_store.store.newest("order-4") is None

    async def test_event_is_found_by_its_id_and_a_command_is_not(self, event_store: StoreUnderTest) -> None:
        event = await event_store.append("order-42", "nut")
        command = await event_store.pending_command()

        assert await event_store.store.is_recorded(event.message_id)
        assert not await event_store.store.is_recorded(command.message_id)
        assert not await event_store.store.is_recorded("")
