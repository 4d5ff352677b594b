"""What a store promises about dead letters that are tried again or dropped."""

from pydantic import SecretStr

from microlith.context import correlated
from microlith.event_store.protocol import DeadLetter, Settlement, Unit
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, KeyCut, StoreUnderTest

HANDLER = "stock.count"


class BuryingContract:
    """Dead letters after they were made: found, tried again, dropped."""

    async def test_dead_letter_is_found_by_its_sequence(self, event_store: StoreUnderTest) -> None:
        first, second = await _letter(event_store), await _letter(event_store)

        found = await event_store.store.dead_letter(second.sequence)

        assert found is not None
        assert (found.sequence, found.message_id) == (second.sequence, second.message_id)
        assert second.sequence > first.sequence
        assert await event_store.store.dead_letter(second.sequence + 1) is None

    async def test_dead_command_keeps_its_envelope(self, event_store: StoreUnderTest) -> None:
        sent = correlated(CountStock(shelf="B"), headers={"tenant": "one"})
        await event_store.record(sent)
        event_store.store.settle(Settlement(HANDLER, sent, error="it broke"))
        await event_store.store.flush()
        (letter,) = await event_store.store.dead_letters()

        found = await event_store.store.dead_message(letter)

        assert found.message == CountStock(shelf="B")
        assert (found.message_id, found.correlation_id) == (sent.message_id, sent.correlation_id)
        assert (found.causation_id, found.depth, found.headers) == (None, 0, {"tenant": "one"})

    async def test_dead_command_from_elsewhere_keeps_its_message(self, event_store: StoreUnderTest) -> None:
        sent = correlated(CountStock(shelf="C"))
        event_store.store.settle(Settlement(HANDLER, sent, error="it broke"))
        await event_store.store.flush()
        (letter,) = await event_store.store.dead_letters()

        found = await event_store.store.dead_message(letter)

        assert (found.message, found.message_id) == (CountStock(shelf="C"), sent.message_id)

    async def test_dead_event_keeps_its_envelope(self, event_store: StoreUnderTest) -> None:
        committed = await event_store.record(KeyCut(number=SecretStr("4711")))
        (event,) = committed.events
        event_store.settle(HANDLER, event, checkpoint=0, error="it broke")
        await event_store.store.flush()
        (letter,) = await event_store.store.dead_letters()

        found = await event_store.store.dead_message(letter)

        assert found.message == event.message
        assert found.message_id == event.message_id

    async def test_retry_that_goes_well_writes_its_messages_and_removes_the_letter(
        self, event_store: StoreUnderTest
    ) -> None:
        letter = await _letter(event_store)
        output = correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([output], await _retried(event_store, letter)))

        assert [one.message_id for one in committed.events] == [output.message_id]
        assert await event_store.store.dead_letters() == []
        assert await event_store.store.failure_of(letter.correlation_id) is None

    async def test_command_of_a_removed_letter_is_not_recorded_again(self, event_store: StoreUnderTest) -> None:
        letter = await _letter(event_store)
        settlement = await _retried(event_store, letter)
        await event_store.complete(Unit([], settlement))

        again = await event_store.record(settlement.envelope)

        assert list(again.duplicates) == [letter.message_id]
        assert await event_store.store.pending_commands() == []

    async def test_retry_that_fails_changes_the_letter_and_makes_none(self, event_store: StoreUnderTest) -> None:
        letter = await _letter(event_store)

        await event_store.complete(Unit([], await _retried(event_store, letter, "worse \ud800\0", 6)))

        (changed,) = await event_store.store.dead_letters()
        assert (changed.sequence, changed.message_id, changed.attempts) == (letter.sequence, letter.message_id, 6)
        assert changed.error.startswith("worse")
        assert changed.time >= letter.time
        assert (await event_store.store.dead_message(changed)).message == CountStock()

    async def test_retry_of_a_letter_that_is_gone_writes_nothing(self, event_store: StoreUnderTest) -> None:
        letter = await _letter(event_store)
        settlement = await _retried(event_store, letter)
        await event_store.store.drop_dead_letter(letter.sequence)
        late = correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([late], settlement))

        assert list(committed.duplicates) == [late.message_id]
        assert await event_store.whole_log() == []

    async def test_retry_of_an_event_leaves_the_checkpoint(self, event_store: StoreUnderTest) -> None:
        events = await event_store.store_items(*"abc")
        for event in events:
            event_store.settle(HANDLER, event, event.position, error="it broke" if event.position == 1 else None)
        await event_store.store.flush()
        (letter,) = await event_store.store.dead_letters()

        await event_store.complete(Unit([correlated(CountStock())], await _retried(event_store, letter)))

        assert await event_store.store.checkpoint(HANDLER, start=-1) == (2, frozenset())
        assert await event_store.store.dead_letters() == []
        assert len(await event_store.store.pending_commands()) == 1

    async def test_dropped_letter_is_gone_and_the_others_stay(self, event_store: StoreUnderTest) -> None:
        first, second, third = [await _letter(event_store) for _ in range(3)]

        dropped = await event_store.store.drop_dead_letter(second.sequence)
        again = await event_store.store.drop_dead_letter(second.sequence)

        assert (dropped, again) == (True, False)
        left = await event_store.store.dead_letters()
        assert [one.sequence for one in left] == [first.sequence, third.sequence]
        (page,) = await event_store.store.dead_letters(after=first.sequence, limit=1)
        assert page.sequence == third.sequence

    async def test_sequence_of_a_dropped_letter_is_not_given_again(self, event_store: StoreUnderTest) -> None:
        letter = await _letter(event_store)
        await event_store.store.drop_dead_letter(letter.sequence)

        assert (await _letter(event_store)).sequence > letter.sequence

    async def test_second_failure_of_a_correlation_is_found_when_the_first_is_gone(
        self, event_store: StoreUnderTest
    ) -> None:
        (event,) = await event_store.store_items("nut")
        event_store.settle(HANDLER, event, checkpoint=0, error="it broke")
        event_store.settle("stock.other", event, checkpoint=0, error="it broke, too")
        await event_store.store.flush()
        first, _ = await event_store.store.dead_letters()

        await event_store.store.drop_dead_letter(first.sequence)

        failure = await event_store.store.failure_of(event.correlation_id)
        assert failure == ("stock.other", "ItemStored", "it broke, too")


async def _letter(event_store: StoreUnderTest) -> DeadLetter:
    """Let a command fail; return its letter."""
    command = await event_store.pending_command()
    event_store.store.settle(Settlement(HANDLER, command, error="it broke", attempts=5))
    await event_store.store.flush()
    return (await event_store.store.dead_letters())[-1]


async def _retried(
    event_store: StoreUnderTest, letter: DeadLetter, error: str | None = None, attempts: int = 6
) -> Settlement:
    envelope = await event_store.store.dead_message(letter)
    return Settlement(letter.handler, envelope, error=error, attempts=attempts, letter=letter.sequence)
