"""What a store promises about messages that are to be sent later."""

from datetime import UTC, datetime
from typing import Any

import pytest

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import MicrolithError
from microlith.event_store.protocol import Committed, Settlement, TimedUnit
from microlith.event_store.schedule import Cancelling, Change, Schedule, Scheduling
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StoreUnderTest, item_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
NEVER = float("inf")


def later(item: str, due: float = NOON, **more: Any) -> Scheduling:
    """Ask for an event later on."""
    return Scheduling(correlated(ItemStored(item=item)), due, **more)


async def change(event_store: StoreUnderTest, *changes: Change) -> Committed:
    """Write some changes in one unit."""
    return await event_store.complete(TimedUnit([], changes=changes))


async def take(event_store: StoreUnderTest, schedule: Schedule) -> Committed:
    """Accept the message of a schedule that is due."""
    return await event_store.complete(TimedUnit([schedule.envelope], takes=schedule.message_id))


async def items(event_store: StoreUnderTest) -> list[str]:
    """Name the items that are scheduled, in order."""
    return [item_of(schedule.envelope.message) for schedule in await event_store.store.schedules()]


class SchedulingContract:
    """Kept, listed, cancelled, replaced by name, and taken in one commit with the acceptance of the message."""

    async def test_schedule_keeps_everything_about_its_message(self, event_store: StoreUnderTest) -> None:
        parent = correlated(CountStock())
        envelope: Envelope[Any] = Envelope(
            ItemStored(item="nut"), "m-1", parent.correlation_id, parent.message_id, parent.time, 1, {"tenant": "one"}
        )

        await change(event_store, Scheduling(envelope, NOON + 0.25, name="stocktaking"))

        (kept,) = await event_store.store.schedules()
        assert (kept.message_id, kept.correlation_id, kept.causation_id) == ("m-1", *[parent.message_id] * 2)
        assert (kept.component, kept.type, kept.name, kept.error) == ("stock", "ItemStored", "stocktaking", None)
        assert (kept.due, kept.steady, kept.due_at.hour) == (NOON + 0.25, False, 12)
        assert kept.asked == pytest.approx(parent.time, abs=1e-5)
        opened = kept.envelope
        assert (opened.message, opened.depth, opened.headers) == (envelope.message, 1, {"tenant": "one"})
        assert b'"item":"nut"' in kept.data

    async def test_scheduled_message_is_neither_in_the_log_nor_pending(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("nut"), Scheduling(correlated(CountStock()), NOON))

        assert await event_store.whole_log() == []
        assert await event_store.store.pending_commands() == []

    async def test_schedules_are_listed_as_they_come_due_in_pages(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("c", NOON + 2), later("a"), later("b", NOON + 1), later("a2"))

        first = await event_store.store.schedules(limit=3)
        second = await event_store.store.schedules(after=first[-1].turn)

        assert [item_of(one.envelope.message) for one in (*first, *second)] == ["a", "a2", "b", "c"]

    async def test_one_schedule_is_found_by_its_message_id(self, event_store: StoreUnderTest) -> None:
        nut = later("nut")
        await change(event_store, nut, later("bolt"))

        found = await event_store.store.schedule(nut.envelope.message_id)

        assert found is not None
        assert found.envelope.message == nut.envelope.message
        assert await event_store.store.schedule("unheard") is None

    async def test_due_are_those_whose_clock_has_come_so_far(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("wall", NOON), later("steady", NOON + 5, steady=True), later("late", NOON + 9))

        none = await event_store.store.due_schedules(NOON - 1, NOON - 1)
        wall = await event_store.store.due_schedules(NOON, NOON)
        both = await event_store.store.due_schedules(NOON, NOON + 5)
        first = await event_store.store.due_schedules(NOON + 9, NOON + 9, limit=1)

        assert none == []
        assert [item_of(one.envelope.message) for one in wall] == ["wall"]
        assert [item_of(one.envelope.message) for one in both] == ["wall", "steady"]
        assert [item_of(one.envelope.message) for one in first] == ["wall"]

    async def test_next_due_is_told_for_each_clock(self, event_store: StoreUnderTest) -> None:
        assert await event_store.store.next_due() == (NEVER, NEVER)

        await change(event_store, later("b", NOON + 1), later("a"), later("s", NOON + 5, steady=True))
        both = await event_store.store.next_due()
        await event_store.store.cancel_schedule((await event_store.store.schedules())[0].message_id)

        assert both == (NOON, NOON + 5)
        assert await event_store.store.next_due() == (NOON + 1, NOON + 5)

    async def test_taking_accepts_the_message_and_ends_the_schedule(self, event_store: StoreUnderTest) -> None:
        nut = later("nut")
        await change(event_store, nut, later("bolt"))
        (schedule, _) = await event_store.store.schedules()

        committed = await take(event_store, schedule)

        (event,) = committed.events
        assert (event.message_id, event.correlation_id) == (nut.envelope.message_id, nut.envelope.correlation_id)
        assert await items(event_store) == ["bolt"]
        assert await event_store.store.next_due() == (NOON, NEVER)

    async def test_taking_a_command_makes_it_pending(self, event_store: StoreUnderTest) -> None:
        command = correlated(CountStock())
        await change(event_store, Scheduling(command, NOON))
        (schedule,) = await event_store.store.schedules()

        await take(event_store, schedule)

        (pending,) = await event_store.store.pending_commands()
        assert pending.envelope.message_id == command.message_id
        assert await event_store.store.schedules() == []

    async def test_taking_twice_writes_once(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("nut"))
        (schedule,) = await event_store.store.schedules()
        await take(event_store, schedule)

        again = await take(event_store, schedule)

        assert (list(again.events), list(again.duplicates)) == ([], [schedule.message_id])
        assert len(await event_store.whole_log()) == 1

    async def test_taking_what_was_cancelled_writes_nothing(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("nut"))
        (schedule,) = await event_store.store.schedules()
        was_there = await event_store.store.cancel_schedule(schedule.message_id)

        committed = await take(event_store, schedule)

        assert was_there
        assert list(committed.duplicates) == [schedule.message_id]
        assert await event_store.whole_log() == []
        assert not await event_store.store.cancel_schedule(schedule.message_id)

    async def test_taking_what_was_sent_before_ends_the_schedule(self, event_store: StoreUnderTest) -> None:
        nut = later("nut")
        await change(event_store, nut)
        await event_store.record(nut.envelope)
        (schedule,) = await event_store.store.schedules()

        committed = await take(event_store, schedule)

        assert list(committed.duplicates) == [schedule.message_id]
        assert await event_store.store.schedules() == []
        assert len(await event_store.whole_log()) == 1

    async def test_message_is_scheduled_once(self, event_store: StoreUnderTest) -> None:
        nut = later("nut")
        await change(event_store, nut)

        again = await change(event_store, Scheduling(nut.envelope, NOON + 1))

        assert list(again.duplicates) == [nut.envelope.message_id]
        assert [one.due for one in await event_store.store.schedules()] == [NOON]

    async def test_name_is_unique_within_a_correlation(self, event_store: StoreUnderTest) -> None:
        first, other = correlated(ItemStored(item="first")), later("other", name="deadline")
        second = Envelope(ItemStored(item="second"), "m-2", first.correlation_id, None, first.time)

        await change(event_store, Scheduling(first, NOON, name="deadline"), other)
        await change(event_store, Scheduling(second, NOON + 1, name="deadline"))

        assert await items(event_store) == ["other", "second"]

    async def test_cancelling_by_name_is_for_one_correlation(self, event_store: StoreUnderTest) -> None:
        mine, other = later("mine", name="deadline"), later("other", name="deadline")
        await change(event_store, mine, other, later("nameless"))

        await change(event_store, Cancelling(mine.envelope.correlation_id, "deadline"))
        await change(event_store, Cancelling(mine.envelope.correlation_id, "unheard"))

        assert await items(event_store) == ["other", "nameless"]

    async def test_name_may_have_another_scope_than_its_correlation(self, event_store: StoreUnderTest) -> None:
        await change(event_store, later("first", name="deadline", scope="process-1"), later("b", name="deadline"))

        await change(event_store, later("second", name="deadline", scope="process-1"))
        replaced = await items(event_store)
        await change(event_store, Cancelling("process-1", "deadline"))

        assert replaced == ["b", "second"]
        assert await items(event_store) == ["b"]

    async def test_changes_of_a_unit_happen_in_order(self, event_store: StoreUnderTest) -> None:
        nut, bolt = later("nut", name="one"), later("bolt")

        await change(
            event_store,
            nut,
            Cancelling(nut.envelope.correlation_id, "one"),
            bolt,
            Cancelling("", message_id=bolt.envelope.message_id),
            later("cog"),
        )

        assert await items(event_store) == ["cog"]

    async def test_schedule_goes_with_the_settlement_and_the_messages_of_its_unit(
        self, event_store: StoreUnderTest
    ) -> None:
        command = await event_store.pending_command()
        unit = TimedUnit(
            [correlated(ItemStored(item="now"))], Settlement("stock.count", command), changes=[later("nut")]
        )

        committed = await event_store.complete(unit)

        assert len(committed.events) == 1
        assert await event_store.store.pending_commands() == []
        assert await items(event_store) == ["nut"]

    async def test_unit_that_comes_too_late_schedules_nothing(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        settlement = Settlement("stock.count", command)
        await change(event_store, kept := later("kept", name="deadline"))
        await event_store.complete(TimedUnit([], settlement))
        late = later("late")
        cancelling = Cancelling(kept.envelope.correlation_id, "deadline")

        committed = await event_store.complete(TimedUnit([], settlement, changes=[late, cancelling]))

        assert list(committed.duplicates) == [late.envelope.message_id]
        assert await items(event_store) == ["kept"]

    async def test_unit_that_loses_a_race_schedules_nothing(self, event_store: StoreUnderTest) -> None:
        await event_store.append("shelf-1", "nut")
        unit = TimedUnit([correlated(ItemStored(item="bolt"))], None, "shelf-1", -1, changes=[later("late")])

        with pytest.raises(MicrolithError, match="shelf-1"):
            await event_store.complete(unit)

        assert await event_store.store.schedules() == []

    async def test_unit_with_a_message_that_cannot_be_kept_writes_nothing(self, event_store: StoreUnderTest) -> None:
        unit = TimedUnit([correlated(ItemStored(item="now"))], changes=[later("nut"), later("\ud800")])

        with pytest.raises(MicrolithError):
            await event_store.complete(unit)

        assert await event_store.store.schedules() == []
        assert await event_store.whole_log() == []

    async def test_schedule_that_could_not_be_sent_stays_and_is_due_no_more(self, event_store: StoreUnderTest) -> None:
        bad = later("bad")
        await change(event_store, bad, later("good", NOON + 1))

        await event_store.store.fail_schedule(bad.envelope.message_id, "its type is gone\0")

        (failed,) = await event_store.store.schedules(failed=True)
        assert failed.message_id == bad.envelope.message_id
        assert str(failed.error).startswith("its type is gone")
        assert await event_store.store.next_due() == (NOON + 1, NEVER)
        assert [one.due for one in await event_store.store.due_schedules(NOON + 1, NOON + 1)] == [NOON + 1]
        assert len(await event_store.store.schedules()) == 2
        assert len((await take(event_store, failed)).events) == 1

    async def test_schedules_are_there_after_reopening(self, event_store: StoreUnderTest) -> None:
        nut = later("nut", name="deadline", steady=True)
        await change(event_store, nut)

        await event_store.reopen()

        (kept,) = await event_store.store.schedules()
        assert (kept.message_id, kept.name, kept.steady) == (nut.envelope.message_id, "deadline", True)
        assert await event_store.store.next_due() == (NEVER, NOON)

    async def test_many_schedules_come_and_go(self, event_store: StoreUnderTest) -> None:
        await change(event_store, *(later(f"{number:03}", NOON + number % 7) for number in range(300)))
        taken = 0
        while due := await event_store.store.due_schedules(NOON + 5, NOON + 5, limit=50):
            for schedule in due:
                await take(event_store, schedule)
            taken += len(due)

        left = await event_store.store.schedules()
        assert (taken, len(left)) == (300 - 42, 42)
        assert {one.due for one in left} == {NOON + 6}

    async def test_cancelling_a_scope_forgets_all_its_schedules_and_no_others(
        self, event_store: StoreUnderTest
    ) -> None:
        await change(
            event_store,
            later("nut", scope="process-1", name="deadline"),
            later("bolt", scope="process-1"),
            later("washer", scope="process-1"),
            later("screw", scope="process-2", name="deadline"),
            later("nail"),
        )

        await change(event_store, Cancelling("process-1"), later("rivet", scope="process-1", name="deadline"))

        assert await items(event_store) == ["screw", "nail", "rivet"]
        await change(event_store, Cancelling("process-3"))
        assert await items(event_store) == ["screw", "nail", "rivet"]
