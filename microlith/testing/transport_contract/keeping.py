"""What a transport promises about what was handed out: it comes again until it is settled, and never after that."""

from microlith.testing.transport_contract.stage import (
    COMMANDS,
    EVENTS,
    HANDLING,
    BrokerUnderTest,
    Stage,
    Taking,
    Traits,
    Watching,
    away,
    publish,
    sent_to,
    until,
)
from microlith.transports import Subscribing, Transport

NUMBERS = ("One", "Two", "Three", "Four", "Five")


class KeepingContract:
    """Settling, coming again, the bound of prefetching, putting aside."""

    traits: Traits

    async def test_what_comes_first_has_not_come_before(self, stage: Stage) -> None:
        _, _, taking = await self._held(stage)

        assert [arrival.again for arrival in taking.arrivals] == [False] * 5

    async def test_what_was_settled_does_not_come_again(self, stage: Stage) -> None:
        sender, transport, taking = await self._held(stage)

        for arrival in taking.arrivals:
            arrival.settle()
        await transport.close()
        _, later = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await later.until_type("Last")
        assert later.types == ["Last"]

    async def test_what_was_not_settled_comes_again_in_order_and_says_so(self, stage: Stage) -> None:
        sender, transport, _ = await self._held(stage)

        await transport.close()
        await publish(sender, *sent_to(COMMANDS, "Last", key="A"))
        _, later = await stage.taking(HANDLING)

        await later.until_type("Last")
        assert later.types == [*NUMBERS, "Last"]
        assert [arrival.again for arrival in later.arrivals][:5] == [True] * 5

    async def test_takers_that_go_leave_the_order_to_the_next(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, *NUMBERS, key="A"))

        for first in range(4):
            transport, taking = await stage.taking(HANDLING, prefetch=2, settles=False)
            await taking.until(2)
            assert taking.types == [NUMBERS[first], NUMBERS[first + 1]]
            taking.arrivals[0].settle()
            await transport.close()

    async def test_what_was_settled_out_of_order_leaves_only_the_others(self, stage: Stage) -> None:
        sender, transport, taking = await self._held(stage, keys="ABCDE")

        for arrival in taking.arrivals:
            if arrival.parcel.attributes["type"] in {"Two", "Four"}:
                arrival.settle()
        await transport.close()
        _, later = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await later.when(lambda: {"One", "Three", "Five", "Last"} <= set(later.types))
        assert sorted(later.types) == ["Five", "Last", "One", "Three"]

    async def test_what_comes_again_can_be_left_and_comes_once_more(self, stage: Stage) -> None:
        _, transport, _ = await self._held(stage)

        for _ in range(3):
            await transport.close()
            transport, taking = await stage.taking(HANDLING, settles=False)
            await taking.until(5)

            assert taking.types == list(NUMBERS)
            assert all(arrival.again for arrival in taking.arrivals)

    async def test_event_comes_again_to_the_group_that_has_not_settled_it(self, stage: Stage) -> None:
        settling, leaving = Subscribing(EVENTS, "billing"), Subscribing(EVENTS, "orders")
        first, settled = await stage.taking(settling)
        second, held = await stage.taking(leaving, settles=False)
        sender = await stage.open(sends=(EVENTS,))
        await publish(sender, *sent_to(EVENTS, "Stored"))
        await settled.until(1)
        await held.until(1)

        for transport in (first, second):
            await transport.close()
        takings = [(await stage.taking(group))[1] for group in (settling, leaving)]
        await publish(sender, *sent_to(EVENTS, "Last"))

        for taking in takings:
            await taking.until_type("Last")
        assert [taking.types for taking in takings] == [["Last"], ["Stored", "Last"]]

    async def test_no_more_than_the_bound_are_unsettled_at_a_time(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=3, settles=False)
        others = Subscribing(EVENTS, "orders")
        _, passing = await stage.taking(others)
        sender = await stage.open(sends=(COMMANDS, EVENTS))

        await publish(sender, *sent_to(COMMANDS, *(str(number) for number in range(10))))

        for settled in range(8):
            await taking.until(settled + 3)
            await publish(sender, *sent_to(EVENTS, f"Passed{settled}"))
            await passing.until_type(f"Passed{settled}")  # one more would have come by now
            assert taking.types == [str(number) for number in range(settled + 3)]
            taking.arrivals[settled].settle()

    async def test_bound_of_one_hands_out_one_after_the_other(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=1, settles=False)
        sender = await stage.open(sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, *NUMBERS, key="A"))

        for number in range(1, 6):
            await taking.until(number)
            assert len(taking.arrivals) == number
            taking.arrivals[-1].settle()

        assert taking.types == list(NUMBERS)

    async def test_settling_twice_is_settling_once(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=2, settles=False)
        sender = await stage.open(sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, *NUMBERS))
        await taking.until(2)

        taking.arrivals[0].settle()
        taking.arrivals[0].settle()
        taking.arrivals[0].refuse("too late")

        await taking.until(3)
        assert taking.types == ["One", "Two", "Three"]
        taking.arrivals[1].settle()
        await taking.until(4)
        assert await stage.broker.refused(stage.app) == []

    async def test_settling_after_the_close_is_nothing(self, stage: Stage) -> None:
        _, transport, taking = await self._held(stage)
        await transport.close()

        for arrival in taking.arrivals:
            arrival.settle()
            arrival.refuse("too late")

        _, later = await stage.taking(HANDLING)
        await later.until(5)
        assert later.types == list(NUMBERS)

    async def test_what_is_settled_over_a_lost_connection_counts_where_it_was_held(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        sender, transport, taking = await self._held(stage)
        watching = Watching(transport)

        async with away(broker):
            await watching.until(there=False)
            for arrival in taking.arrivals[:4]:
                arrival.settle()
            taking.arrivals[4].refuse("too late")

        if not self.traits.holds:
            await taking.until(10)
            for arrival in taking.arrivals[:5]:
                arrival.settle()  # of the connection before: means nothing any more
            assert taking.types == [*NUMBERS, *NUMBERS]
            assert all(arrival.again for arrival in taking.arrivals[5:])
        await watching.until(there=True)
        await transport.close()
        _, later = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Last"))
        await later.until_type("Last")
        assert later.types == (["Last"] if self.traits.holds else [*NUMBERS, "Last"])

    async def test_what_was_taken_can_be_settled_after_the_iteration_was_left(self, stage: Stage) -> None:
        sender, transport, taking = await self._held(stage)

        await taking.leave()
        for arrival in taking.arrivals:
            arrival.settle()
        await transport.close()
        _, later = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await later.until_type("Last")
        assert later.types == ["Last"]

    async def test_refused_is_put_aside_with_the_reason_and_does_not_come_again(self, stage: Stage) -> None:
        sender, transport, taking = await self._held(stage)

        taking.arrivals[1].refuse("no such type: schl\u00fcssel\nsecond line")
        taking.arrivals[3].refuse("r" * 5000)
        await transport.close()
        _, later = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await later.until_type("Last")
        assert later.types == ["One", "Three", "Five", "Last"]
        refused = await stage.broker.refused(stage.app)
        assert [(one.attributes["type"], one.data) for one, _ in refused] == [("Two", b"{}"), ("Four", b"{}")]
        assert refused[0][1] == "no such type: schl\u00fcssel\nsecond line"
        assert refused[1][1].startswith("r" * 200)

    async def test_refused_makes_room_for_the_next(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=1, settles=False)
        sender = await stage.open(sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, "One", "Two"))
        await taking.until(1)

        taking.arrivals[0].refuse("unreadable")

        await taking.until(2)
        await until(lambda: taking.types == ["One", "Two"])

    @staticmethod
    async def _held(stage: Stage, keys: str = "AAAAA") -> tuple[Transport, Transport, Taking]:
        """Have five commands handed out and not settled."""
        sender = await stage.open(sends=(COMMANDS,))
        transport, taking = await stage.taking(HANDLING, settles=False)
        sent = [one for name, key in zip(NUMBERS, keys, strict=True) for one in sent_to(COMMANDS, name, key=key)]
        await publish(sender, *sent)
        await taking.until(5)
        return sender, transport, taking
