"""What a store promises about dead letters of one key: the first of them, and those that are parked behind it."""

from microlith.event_store.protocol import DeadLetter, KeyedLetters, Settlement, Unit
from microlith.testing.event_store_contract.stock import StoreUnderTest

HANDLER = "stock.count"


class ParkingContract:
    """Letters with a key."""

    async def test_a_parked_message_is_settled_and_stands_behind_the_first_of_its_key(
        self, event_store: StoreUnderTest
    ) -> None:
        await fail(event_store, None)
        head = await fail(event_store, "a")
        other = await fail(event_store, "b")
        parked = [await fail(event_store, "a", parked=True) for _ in range(2)]

        assert (head.key, head.behind, head.error, head.attempts) == ("a", None, "it broke", 3)
        for letter in parked:
            assert (letter.key, letter.behind, letter.attempts) == ("a", head.sequence, 0)
            assert letter.error == f"parked behind {head.sequence}"
        assert (other.key, other.behind) == ("b", None)
        assert await event_store.store.pending_commands() == []
        assert (await event_store.store.dead_message(parked[0])).message_id == parked[0].message_id

    async def test_letters_are_summed_up_by_handler_and_key_also_after_a_restart(
        self, event_store: StoreUnderTest
    ) -> None:
        await fail(event_store, None)
        head = await fail(event_store, "a")
        second = await fail(event_store, "a", parked=True)
        other = await fail(event_store, "a", handler="stock.weigh")
        await event_store.reopen()

        before = sorted(await event_store.store.keyed_letters())
        await event_store.store.drop_dead_letter(head.sequence)
        after = sorted(await event_store.store.keyed_letters())

        weighed = KeyedLetters("stock.weigh", "a", 1, other.sequence, waits=False)
        assert before == [KeyedLetters(HANDLER, "a", 2, head.sequence, waits=False), weighed]
        assert after == [KeyedLetters(HANDLER, "a", 1, second.sequence, waits=True), weighed]

    async def test_the_first_letter_of_a_key_is_found(self, event_store: StoreUnderTest) -> None:
        head = await fail(event_store, "a")
        second = await fail(event_store, "a", parked=True)

        first = await event_store.store.first_letter(HANDLER, "a")
        await event_store.store.drop_dead_letter(head.sequence)
        then = await event_store.store.first_letter(HANDLER, "a")

        assert first is not None
        assert then is not None
        assert (first.sequence, then.sequence) == (head.sequence, second.sequence)
        assert await event_store.store.first_letter(HANDLER, "b") is None
        assert await event_store.store.first_letter("stock.weigh", "a") is None

    async def test_a_parked_letter_that_fails_is_the_first_and_the_others_stand_behind_it(
        self, event_store: StoreUnderTest
    ) -> None:
        head = await fail(event_store, "a")
        second, third = [await fail(event_store, "a", parked=True) for _ in range(2)]
        await event_store.store.drop_dead_letter(head.sequence)
        envelope = await event_store.store.dead_message(second)

        again = Settlement(HANDLER, envelope, error="it broke, too", attempts=1, letter=second.sequence)
        await event_store.complete(Unit([], again))

        one, two = await event_store.store.dead_letters()
        assert (one.sequence, one.error, one.attempts, one.behind) == (second.sequence, "it broke, too", 1, None)
        assert (two.sequence, two.error, two.behind) == (
            third.sequence,
            f"parked behind {second.sequence}",
            second.sequence,
        )
        assert await event_store.store.keyed_letters() == [KeyedLetters(HANDLER, "a", 2, second.sequence, waits=False)]

    async def test_a_parked_event_moves_the_checkpoint(self, event_store: StoreUnderTest) -> None:
        first, second = await event_store.store_items("nut", "bolt")
        store = event_store.store
        store.settle(Settlement(HANDLER, first.envelope, 0, 0, "it broke", key="a"))
        store.settle(Settlement(HANDLER, second.envelope, 1, 1, "parked", 0, key="a", parked=True))
        await store.flush()

        assert await store.checkpoint(HANDLER, start=-1) == (1, frozenset())
        assert [letter.position for letter in await store.dead_letters()] == [0, 1]


async def fail(
    event_store: StoreUnderTest, key: str | None, *, parked: bool = False, handler: str = HANDLER
) -> DeadLetter:
    """Let a command fail, or park it; return its letter."""
    command = await event_store.pending_command()
    event_store.store.settle(Settlement(handler, command, error="it broke", attempts=3, key=key, parked=parked))
    await event_store.store.flush()
    return (await event_store.store.dead_letters())[-1]
