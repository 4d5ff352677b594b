"""What a transport promises when its broker is away: it says so at the start, and comes back by itself afterwards."""

import asyncio

import pytest

from microlith.testing.transport_contract.stage import (
    ANSWERING,
    COMMANDS,
    EVENTS,
    HANDLING,
    QUERIES,
    BrokerUnderTest,
    Stage,
    Watching,
    away,
    parcel,
    publish,
    sent_to,
)
from microlith.transports import Inbox, Parcel, Subscribing, Transport, TransportUnavailableError


class LosingContract:
    """A broker that is away, goes, and comes back."""

    async def test_start_says_that_the_broker_is_away_and_may_be_tried_again(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        transport = broker.connect()
        topology = stage.topology(HANDLING, sends=(COMMANDS,))

        async with away(broker):
            with pytest.raises(TransportUnavailableError) as refused:
                await transport.open(topology)
            with pytest.raises(TransportUnavailableError):
                await transport.plan(topology)
        await transport.open(topology)
        await publish(transport, *sent_to(COMMANDS, "Count"))

        await stage.take(transport, HANDLING).until(1)
        await transport.close()
        assert transport.broker in str(refused.value)

    async def test_loss_and_return_are_told(self, stage: Stage, broker: BrokerUnderTest) -> None:
        transport = await stage.open(HANDLING, sends=(COMMANDS,))
        watching = Watching(transport)

        for _ in range(2):
            async with away(broker):
                await watching.until(there=False)
            await watching.until(there=True)

        assert [there for there, _ in watching.told] == [False, True, False, True]
        assert [bool(why) for _, why in watching.told] == [True, False, True, False]

    async def test_who_sends_meanwhile_waits_for_the_broker(self, stage: Stage, broker: BrokerUnderTest) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        watching = Watching(sender)

        async with away(broker):
            await watching.until(there=False)
            sending = asyncio.create_task(publish(sender, *sent_to(COMMANDS, "Count")))
            await asyncio.sleep(0.05)  # time in which it might be taken for done
            assert not sending.done()
        await sending

        _, taking = await stage.taking(HANDLING)
        await taking.until(1)

    async def test_batch_that_is_under_way_is_taken_or_says_that_it_may_not_be(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        receiver, taking = await stage.taking(HANDLING)
        sender = await stage.open(sends=(COMMANDS,))
        outcomes: list[bool] = []

        for number in range(5):
            sending = asyncio.create_task(self._taken(sender, *(parcel(f"{number}-{at}", "A") for at in range(50))))
            await asyncio.sleep(0)
            async with away(broker):
                pass
            outcomes.append(await sending)
        watching = Watching(receiver)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await taking.until_type("Last")
        for number, taken in enumerate(outcomes):
            if taken:
                assert {f"{number}-{at}" for at in range(50)} <= set(taking.types)
        assert watching.told in ([], [(True, "")])

    async def test_everything_goes_on_when_the_broker_is_back(self, stage: Stage, broker: BrokerUnderTest) -> None:
        inbox = Inbox("shop-1-aaaa")
        orders = Subscribing(EVENTS, "orders", frozenset({"Stored"}))
        receiver = await stage.open(HANDLING, ANSWERING, orders, inbox=inbox)
        takings = [stage.take(receiver, wanted) for wanted in (HANDLING, ANSWERING, orders, inbox)]
        sender = await stage.open(sends=(COMMANDS, QUERIES, EVENTS))
        watching = Watching(receiver)

        for number in range(2):
            await publish(sender, *((to, parcel("Stored")) for to in (COMMANDS, QUERIES, EVENTS, inbox)))
            for taking in takings:
                await taking.until(number + 1)
            async with away(broker):
                await watching.until(there=False)
            await watching.until(there=True)
        await publish(sender, *((to, parcel("Stored")) for to in (COMMANDS, QUERIES, EVENTS, inbox)))

        for taking in takings:
            await taking.until(3)

    async def test_group_keeps_its_place_while_the_broker_is_away(self, stage: Stage, broker: BrokerUnderTest) -> None:
        orders = Subscribing(EVENTS, "orders")
        first = await stage.open(orders)
        await first.close()
        sender = await stage.open(sends=(EVENTS,))
        await publish(sender, *sent_to(EVENTS, "Before"))

        async with away(broker):
            pass
        await publish(sender, *sent_to(EVENTS, "After"))

        _, taking = await stage.taking(orders)
        await taking.until_type("After")
        assert taking.types == ["Before", "After"]

    @staticmethod
    async def _taken(sender: Transport, *parcels: Parcel) -> bool:
        try:
            await sender.publish([(COMMANDS, one) for one in parcels])
        except TransportUnavailableError:
            return False
        return True
