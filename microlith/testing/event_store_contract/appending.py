"""What a store promises about appending: order, all or nothing, nothing twice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import PositionConflictError
from microlith.event_store.protocol import Committed, RecordedEvent, Settlement, Unit
from microlith.ids import new_id
from microlith.testing.event_store_contract.stock import (
    CountStock,
    ItemStored,
    ItemTaken,
    KeyCut,
    StoreUnderTest,
    all_facts,
)

WRITERS = 8
EACH = 50


class AppendingContract:
    """Positions, streams, units and duplicates."""

    async def test_empty_log_has_head_minus_one(self, event_store: StoreUnderTest) -> None:
        assert await event_store.store.head() == -1
        assert await event_store.whole_log() == []

    async def test_recorded_event_gets_the_next_position(self, event_store: StoreUnderTest) -> None:
        first = await event_store.record(ItemStored(item="nut"))
        second = await event_store.record(ItemTaken(item="nut"))

        assert [event.position for event in (*first.events, *second.events)] == [0, 1]
        assert await event_store.store.head() == 1

    async def test_event_goes_to_the_stream_of_its_component(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items("nut", "bolt")

        events = await event_store.store.read("stock")

        assert [(event.stream, event.stream_position) for event in events] == [("stock", 0), ("stock", 1)]

    async def test_stream_positions_are_counted_for_each_stream(self, event_store: StoreUnderTest) -> None:
        for stream in ("left", "right", "left", "left"):
            await event_store.append(stream, "nut")

        left, right = await event_store.store.read("left"), await event_store.store.read("right")

        assert [(event.position, event.stream_position) for event in left] == [(0, 0), (2, 1), (3, 2)]
        assert [(event.position, event.stream_position) for event in right] == [(1, 0)]

    async def test_event_is_read_back_as_it_was_committed(self, event_store: StoreUnderTest) -> None:
        text = 'täglich \U0001f529 "quoted" \\ \x1b[2J \r\n \u202e'
        envelope = Envelope(
            ItemStored(item=text), new_id(), new_id(), new_id(), 1790000000.123457, 7, {"traceparent": "00-é-01"}
        )

        committed = await event_store.record(envelope)
        read = await event_store.whole_log()

        assert all_facts(read) == all_facts(committed.events)
        assert read[0].message == envelope.message
        assert (read[0].causation_id, read[0].depth, read[0].headers) == (envelope.causation_id, 7, envelope.headers)

    async def test_committed_event_carries_the_envelope_it_was_sent_in(self, event_store: StoreUnderTest) -> None:
        envelope = correlated(ItemStored(item="nut"))

        committed = await event_store.record(envelope)

        assert committed.events[0].envelope is envelope

    async def test_secret_is_stored_as_it_is(self, event_store: StoreUnderTest) -> None:
        await event_store.record(KeyCut(number="4711"))  # type: ignore[arg-type]  # as it comes from JSON

        (event,) = await event_store.whole_log()

        assert event.data == b'{"number":"4711"}'

    async def test_unit_is_written_in_order_and_without_a_gap(self, event_store: StoreUnderTest) -> None:
        events = await event_store.store_items("nut", "bolt", "washer")

        assert [event.position for event in events] == [0, 1, 2]
        assert all_facts(await event_store.whole_log()) == all_facts(events)

    async def test_stale_expected_position_is_refused(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut", expected=-1)

        with pytest.raises(PositionConflictError) as caught:
            await event_store.append("order-42", "bolt", expected=-1)

        assert (caught.value.expected_position, caught.value.actual_position) == (-1, 0)
        assert len(await event_store.whole_log()) == 1

    async def test_expected_position_ahead_of_the_stream_is_refused(self, event_store: StoreUnderTest) -> None:
        with pytest.raises(PositionConflictError):
            await event_store.append("order-42", "nut", expected=0)

    async def test_right_expected_position_is_taken(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut", expected=-1)

        second = await event_store.append("order-42", "bolt", expected=0)

        assert second.stream_position == 1

    async def test_refused_unit_leaves_nothing_behind(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        await event_store.append("order-42", "nut")
        unit = Unit(
            [correlated(ItemStored(item="bolt")), correlated(CountStock())],
            Settlement("stock.count", command),
            "order-42",
            expected_position=-1,
        )

        with pytest.raises(PositionConflictError):
            await event_store.complete(unit)

        pending = await event_store.store.pending_commands()
        assert [one.envelope.message_id for one in pending] == [command.message_id]
        assert len(await event_store.whole_log()) == 1

    async def test_refused_unit_does_not_spoil_its_neighbours(self, event_store: StoreUnderTest) -> None:
        await event_store.append("order-42", "nut")

        outcomes = await asyncio.gather(
            event_store.append("order-1", "bolt"),
            event_store.append("order-42", "bolt", expected=-1),
            event_store.append("order-2", "bolt"),
            return_exceptions=True,
        )

        assert [type(outcome) is PositionConflictError for outcome in outcomes] == [False, True, False]
        assert [event.stream for event in await event_store.whole_log()] == ["order-42", "order-1", "order-2"]

    async def test_one_of_two_racing_writers_wins(self, event_store: StoreUnderTest) -> None:
        outcomes = await asyncio.gather(
            *(event_store.append("order-42", item, expected=-1) for item in ("nut", "bolt")), return_exceptions=True
        )

        assert sum(isinstance(outcome, PositionConflictError) for outcome in outcomes) == 1
        assert len(await event_store.store.read("order-42")) == 1

    async def test_event_is_recorded_once(self, event_store: StoreUnderTest) -> None:
        envelope = correlated(ItemStored(item="nut"))

        first, second = await asyncio.gather(event_store.record(envelope), event_store.record(envelope))
        third = await event_store.record(envelope)

        assert len(first.events) == 1
        assert [list(again.duplicates) for again in (second, third)] == [[envelope.message_id]] * 2
        assert len(await event_store.whole_log()) == 1

    async def test_recorded_message_is_left_out_of_a_later_unit(self, event_store: StoreUnderTest) -> None:
        old, new = correlated(ItemStored(item="nut")), correlated(ItemStored(item="bolt"))
        await event_store.record(old)

        committed = await event_store.complete(Unit([old, new]))

        assert [event.message_id for event in committed.events] == [new.message_id]
        assert list(committed.duplicates) == [old.message_id]

    async def test_message_twice_in_one_unit_is_recorded_once(self, event_store: StoreUnderTest) -> None:
        envelope = correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([envelope, envelope]))

        assert len(committed.events) == 1
        assert list(committed.duplicates) == [envelope.message_id]

    async def test_unit_sent_again_is_a_duplicate_and_no_conflict(self, event_store: StoreUnderTest) -> None:
        unit = Unit([correlated(ItemStored(item="nut"))], None, "order-42", expected_position=-1)
        await event_store.complete(unit)

        again = await event_store.complete(unit)

        assert list(again.duplicates) == [unit.envelopes[0].message_id]

    async def test_callers_are_told_in_the_order_of_positions(self, event_store: StoreUnderTest) -> None:
        told: list[int] = []
        last = asyncio.Event()

        def done(committed: Committed | None, error: BaseException | None) -> None:
            assert committed is not None, error
            told.extend(event.position for event in committed.events)
            if len(told) == EACH:
                last.set()

        for number in range(EACH):
            event_store.store.record(correlated(ItemStored(item=f"item {number}")), done)
        await last.wait()

        assert told == list(range(EACH))

    async def test_many_writers_leave_no_gap_and_keep_their_order(self, event_store: StoreUnderTest) -> None:
        async def write(writer: int) -> list[RecordedEvent]:
            return [await event_store.append(f"writer-{writer}", f"{number}") for number in range(EACH)]

        written = await asyncio.gather(*(write(writer) for writer in range(WRITERS)))

        log = await event_store.whole_log()
        assert [event.position for event in log] == list(range(WRITERS * EACH))
        for events in written:
            assert [event.stream_position for event in events] == list(range(EACH))
            assert all_facts(events) == all_facts([event for event in log if event.stream == events[0].stream])

    async def test_tailing_reader_sees_what_a_later_reader_sees(self, event_store: StoreUnderTest) -> None:
        async def tail() -> list[RecordedEvent]:
            seen: list[RecordedEvent] = []
            while len(seen) < WRITERS * EACH:
                seen += await event_store.store.read_all(after=len(seen) - 1, limit=7)
                await asyncio.sleep(0)
            return seen

        async def write(writer: int) -> Sequence[Any]:
            return [await event_store.append(f"writer-{writer}", f"{number}") for number in range(EACH)]

        seen, *_ = await asyncio.gather(tail(), *(write(writer) for writer in range(WRITERS)))

        assert all_facts(seen) == all_facts(await event_store.whole_log())
