"""What a store promises about commands, handlers and failures."""

from microlith.context import correlated
from microlith.event_store.protocol import Settlement, Unit
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StoreUnderTest

HANDLER = "stock.count"


class SettlingContract:
    """Pending commands, the inbox mark, checkpoints, attempts and dead letters."""

    async def test_accepted_command_is_pending(self, event_store: StoreUnderTest) -> None:
        envelope = correlated(CountStock(shelf="B"), headers={"tenant": "one"})
        await event_store.record(envelope)

        (pending,) = await event_store.store.pending_commands()

        assert pending.envelope.message == CountStock(shelf="B")
        assert (pending.envelope.message_id, pending.envelope.headers) == (envelope.message_id, {"tenant": "one"})
        assert pending.attempts == 0

    async def test_command_is_recorded_once(self, event_store: StoreUnderTest) -> None:
        envelope = await event_store.pending_command()

        again = await event_store.record(envelope)

        assert list(again.duplicates) == [envelope.message_id]
        assert len(await event_store.store.pending_commands()) == 1

    async def test_pending_commands_are_read_in_pages(self, event_store: StoreUnderTest) -> None:
        sent = [await event_store.pending_command() for _ in range(5)]

        first = await event_store.store.pending_commands(limit=3)
        second = await event_store.store.pending_commands(after=first[-1].sequence, limit=3)

        assert [one.envelope.message_id for one in (*first, *second)] == [one.message_id for one in sent]

    async def test_settled_command_is_not_pending(self, event_store: StoreUnderTest) -> None:
        command, other = await event_store.pending_command(), await event_store.pending_command()

        event_store.store.settle(Settlement(HANDLER, command))
        event_store.store.settle(Settlement(HANDLER, command))
        await event_store.store.flush()

        pending = await event_store.store.pending_commands()
        assert [one.envelope.message_id for one in pending] == [other.message_id]

    async def test_settled_command_is_not_recorded_again(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        event_store.store.settle(Settlement(HANDLER, command))

        again = await event_store.record(command)

        assert list(again.duplicates) == [command.message_id]
        assert await event_store.store.pending_commands() == []

    async def test_command_is_settled_the_short_way(self, event_store: StoreUnderTest) -> None:
        command, other = await event_store.pending_command(), await event_store.pending_command()

        event_store.store.settle_command(command)
        event_store.store.settle_command(command)
        await event_store.store.flush()

        pending = await event_store.store.pending_commands()
        assert [one.envelope.message_id for one in pending] == [other.message_id]

    async def test_unit_writes_its_messages_and_settles(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        event, follower = correlated(ItemStored(item="nut")), correlated(CountStock())

        committed = await event_store.complete(Unit([event, follower], Settlement(HANDLER, command)))

        assert [one.message_id for one in committed.events] == [event.message_id]
        pending = await event_store.store.pending_commands()
        assert [one.envelope.message_id for one in pending] == [follower.message_id]

    async def test_unit_of_a_settled_command_writes_nothing(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        await event_store.complete(Unit([correlated(ItemStored(item="nut"))], Settlement(HANDLER, command)))
        late = correlated(ItemStored(item="nut"))

        committed = await event_store.complete(Unit([late], Settlement(HANDLER, command)))

        assert list(committed.events) == []
        assert list(committed.duplicates) == [late.message_id]
        assert len(await event_store.whole_log()) == 1

    async def test_unit_of_a_finished_event_writes_nothing(self, event_store: StoreUnderTest) -> None:
        (event,) = await event_store.store_items("nut")
        settlement = Settlement(HANDLER, event.envelope, event.position, checkpoint=-1)
        await event_store.complete(Unit([correlated(CountStock())], settlement))
        late = correlated(CountStock())

        committed = await event_store.complete(Unit([late], settlement))

        assert list(committed.duplicates) == [late.message_id]
        assert len(await event_store.store.pending_commands()) == 1

    async def test_other_handler_of_the_same_event_is_not_settled_by_it(self, event_store: StoreUnderTest) -> None:
        (event,) = await event_store.store_items("nut")
        event_store.settle(HANDLER, event, checkpoint=0)

        committed = await event_store.complete(
            Unit([correlated(ItemStored(item="bolt"))], Settlement("stock.other", event.envelope, 0, 0))
        )

        assert len(committed.events) == 1

    async def test_checkpoints_of_a_group_pass_over_nothing_when_its_names_change(
        self, event_store: StoreUnderTest
    ) -> None:
        store = event_store.store
        events = await event_store.store_items("a", "b", "c", "d")
        await store.checkpoint("stock.out", start=0)

        first = await store.carry_on("out.", {"out.one", "out.two"}, start=3)
        for name, position in (("out.one", 3), ("out.two", 3)):
            store.settle(Settlement(name, events[position].envelope, position, position))
        await store.carry_on("out.", {"out.one"}, start=3)
        new = await store.carry_on("out.", {"out.one", "out.three"}, start=9)
        await store.carry_on("out.", set(), start=9)
        await store.carry_on("out.", {"out.one", "out.slow"}, start=1)
        store.settle(Settlement("out.one", events[3].envelope, 3, 3))
        moved = await store.carry_on("out.", {"out.one", "out.fast"}, start=9)
        store.settle(Settlement("out.fast", events[2].envelope, 2, 2))
        await event_store.reopen()
        same = await event_store.store.carry_on("out.", {"out.one", "out.fast"}, start=9)

        assert first == {"out.one": 3, "out.two": 3}
        assert new == {"out.one": 3, "out.three": 3}
        assert moved == {"out.one": 1, "out.fast": 1}
        assert same == {"out.one": 1, "out.fast": 2}
        assert await event_store.store.checkpoint("stock.out", start=9) == (0, frozenset())

    async def test_command_from_elsewhere_is_settled_once(self, event_store: StoreUnderTest) -> None:
        command = correlated(CountStock())
        first, late = correlated(ItemStored(item="nut")), correlated(ItemStored(item="nut"))

        await event_store.complete(Unit([first], Settlement(HANDLER, command)))
        again = await event_store.complete(Unit([late], Settlement(HANDLER, command)))

        assert list(again.duplicates) == [late.message_id]
        assert list((await event_store.record(command)).duplicates) == [command.message_id]

    async def test_new_handler_starts_where_it_is_told_and_stays_there(self, event_store: StoreUnderTest) -> None:
        await event_store.store_items("nut", "bolt")

        first = await event_store.store.checkpoint(HANDLER, start=1)
        second = await event_store.store.checkpoint(HANDLER, start=-1)

        assert first == second == (1, frozenset())

    async def test_finished_positions_above_the_checkpoint_are_remembered(self, event_store: StoreUnderTest) -> None:
        events = await event_store.store_items(*"abcde")
        event_store.settle(HANDLER, events[2], checkpoint=-1)
        event_store.settle(HANDLER, events[0], checkpoint=0)
        event_store.settle(HANDLER, events[4], checkpoint=0)

        between = await event_store.store.checkpoint(HANDLER, start=-1)
        event_store.settle(HANDLER, events[1], checkpoint=2)
        after = await event_store.store.checkpoint(HANDLER, start=-1)

        assert between == (0, frozenset({2, 4}))
        assert after == (2, frozenset({4}))

    async def test_checkpoint_never_goes_back(self, event_store: StoreUnderTest) -> None:
        events = await event_store.store_items(*"abcd")
        event_store.settle(HANDLER, events[2], checkpoint=2)
        event_store.settle(HANDLER, events[3], checkpoint=-1)

        assert await event_store.store.checkpoint(HANDLER, start=-1) == (2, frozenset({3}))

    async def test_failed_command_becomes_a_dead_letter(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()

        event_store.store.settle(Settlement(HANDLER, command, error="ValueError: \ud800\0", attempts=5))
        await event_store.store.flush()

        assert await event_store.store.pending_commands() == []
        (letter,) = await event_store.store.dead_letters()
        assert (letter.handler, letter.component, letter.type, letter.attempts) == (HANDLER, "stock", "CountStock", 5)
        assert (letter.message_id, letter.position, letter.data) == (command.message_id, None, b'{"shelf":"A"}')
        assert letter.error.startswith("ValueError")

    async def test_failed_event_becomes_a_dead_letter(self, event_store: StoreUnderTest) -> None:
        events = await event_store.store_items("nut", "bolt")

        event_store.settle(HANDLER, events[1], checkpoint=-1, error="it broke")
        event_store.settle("stock.other", events[1], checkpoint=-1, error="it broke, too")
        await event_store.store.flush()

        letters = await event_store.store.dead_letters()
        assert [(letter.handler, letter.position) for letter in letters] == [(HANDLER, 1), ("stock.other", 1)]
        assert await event_store.store.dead_letters(after=letters[1].sequence) == []

    async def test_failure_of_a_correlation_is_found(self, event_store: StoreUnderTest) -> None:
        (event,) = await event_store.store_items("nut")
        assert await event_store.store.failure_of(event.correlation_id) is None

        event_store.settle(HANDLER, event, checkpoint=0, error="it broke")
        await event_store.store.flush()

        assert await event_store.store.failure_of(event.correlation_id) == (HANDLER, "ItemStored", "it broke")
        assert await event_store.store.failure_of("unheard") is None

    async def test_attempts_are_counted(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        (event,) = await event_store.store_items("nut")

        counted = [await event_store.store.begin_again(HANDLER, command) for _ in range(2)]
        of_event = await event_store.store.begin_again(HANDLER, event.envelope)
        of_other = await event_store.store.begin_again("stock.other", event.envelope)

        assert (counted, of_event, of_other) == ([1, 2], 1, 1)
        assert (await event_store.store.pending_commands())[0].attempts == 2

    async def test_a_count_is_taken_back(self, event_store: StoreUnderTest) -> None:
        command = await event_store.pending_command()
        nut, bolt = await event_store.store_items("nut", "bolt")
        for _ in range(2):
            await event_store.store.begin_again(HANDLER, command)
            await event_store.store.begin_again(HANDLER, nut.envelope)

        await event_store.store.uncount([(HANDLER, command), (HANDLER, nut.envelope), (HANDLER, bolt.envelope)])

        assert (await event_store.store.pending_commands())[0].attempts == 1
        assert await event_store.store.begin_again(HANDLER, nut.envelope) == 2
        assert await event_store.store.begin_again(HANDLER, bolt.envelope) == 1

    async def test_counts_of_what_is_settled_are_not_taken_back(self, event_store: StoreUnderTest) -> None:
        (event,) = await event_store.store_items("nut")
        await event_store.store.begin_again(HANDLER, event.envelope)
        event_store.settle(HANDLER, event, checkpoint=0)
        await event_store.store.flush()

        await event_store.store.uncount([(HANDLER, event.envelope)])

        assert await event_store.store.begin_again(HANDLER, event.envelope) == 1
