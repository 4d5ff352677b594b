"""What a store promises about commands that came over a transport and were never recorded here to be handled."""

from microlith.context import correlated
from microlith.event_store.protocol import ArrivedSettlement, Settlement, Unit
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StoreUnderTest

HANDLER = "stock.count"
DIGEST = 4_000_000_000


class ArrivingContract:
    """Marks, digests, attempts and dead letters of what came from elsewhere."""

    async def test_command_that_arrived_is_settled_with_what_it_caused(self, event_store: StoreUnderTest) -> None:
        command, event = correlated(CountStock(shelf="B")), correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([event], ArrivedSettlement(HANDLER, command, DIGEST)))

        assert [one.message_id for one in committed.events] == [event.message_id]
        assert await event_store.store.pending_commands() == []
        assert await event_store.store.arrived(command.message_id) == DIGEST

    async def test_nothing_is_known_of_a_command_that_has_not_arrived(self, event_store: StoreUnderTest) -> None:
        local = await event_store.pending_command()
        event_store.store.settle(Settlement(HANDLER, local))
        await event_store.store.flush()

        assert await event_store.store.arrived(local.message_id) is None
        assert await event_store.store.arrived("strange") is None

    async def test_command_that_comes_again_writes_nothing(self, event_store: StoreUnderTest) -> None:
        command = correlated(CountStock(shelf="B"))
        await event_store.complete(Unit([], ArrivedSettlement(HANDLER, command, DIGEST)))
        late = correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([late], ArrivedSettlement(HANDLER, command, DIGEST)))

        assert list(committed.duplicates) == [late.message_id]
        assert await event_store.whole_log() == []

    async def test_command_comes_back_to_the_store_that_sent_it(self, event_store: StoreUnderTest) -> None:
        sent_first, handled_first = await event_store.pending_command(), await event_store.pending_command()
        event = correlated(ItemStored(item="nut"))

        event_store.store.settle(Settlement("outbox.stock", sent_first))
        after = await event_store.complete(Unit([event], ArrivedSettlement(HANDLER, sent_first, DIGEST)))
        await event_store.complete(Unit([], ArrivedSettlement(HANDLER, handled_first, DIGEST)))
        waiting = [one.envelope.message_id for one in await event_store.store.pending_commands()]

        assert len(after.events) == 1
        assert waiting == [handled_first.message_id]
        assert await event_store.store.arrived(handled_first.message_id) == DIGEST

    async def test_failed_command_that_arrived_is_a_dead_letter_in_its_envelope(
        self, event_store: StoreUnderTest
    ) -> None:
        cause = correlated(CountStock())
        command = correlated(CountStock(shelf="B"), headers={"tenant": "one"})
        command.correlation_id, command.causation_id, command.depth = cause.correlation_id, cause.message_id, 1
        await event_store.complete(Unit([], ArrivedSettlement(HANDLER, command, DIGEST, "ValueError: no", 2)))

        (letter,) = await event_store.store.dead_letters()
        buried = await event_store.store.dead_message(letter)

        assert (letter.handler, letter.message_id, letter.attempts) == (HANDLER, command.message_id, 2)
        assert buried.message == CountStock(shelf="B")
        assert (buried.causation_id, buried.headers) == (cause.message_id, {"tenant": "one"})
        assert await event_store.store.arrived(command.message_id) == 0

    async def test_dead_letter_of_one_that_arrived_is_retried_or_dropped(self, event_store: StoreUnderTest) -> None:
        for _ in range(2):
            command = correlated(CountStock(shelf="B"))
            await event_store.complete(Unit([], ArrivedSettlement(HANDLER, command, DIGEST, "ValueError: no", 1)))
        first, second = await event_store.store.dead_letters()
        message = await event_store.store.dead_message(first)

        await event_store.complete(Unit([], Settlement(HANDLER, message, letter=first.sequence, attempts=2)))
        await event_store.store.drop_dead_letter(second.sequence)

        assert await event_store.store.dead_letters() == []
        assert await event_store.store.arrived(first.message_id) == 0
        assert await event_store.store.arrived(second.message_id) == 0

    async def test_tries_of_one_that_arrived_are_counted_and_forgotten(self, event_store: StoreUnderTest) -> None:
        command = correlated(CountStock(shelf="B"))

        counts = [await event_store.store.begin_again(HANDLER, command) for _ in range(3)]
        await event_store.store.uncount([(HANDLER, command)])
        counts.append(await event_store.store.begin_again(HANDLER, command))
        await event_store.complete(Unit([], ArrivedSettlement(HANDLER, command, DIGEST)))

        assert counts == [1, 2, 3, 3]
        assert await event_store.store.begin_again(HANDLER, command) == 1
