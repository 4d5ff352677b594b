"""What a transport promises about its end: whoever waits for it is told, and nothing of it is left."""

import asyncio

import pytest

from microlith.testing.transport_contract.stage import (
    COMMANDS,
    EVENTS,
    HANDLING,
    BrokerUnderTest,
    Stage,
    Watching,
    away,
    in_time,
    publish,
    sent_to,
    until,
)
from microlith.transports import Inbox, Subscribing, Transport, TransportUnavailableError

INBOX = Inbox("shop-1-aaaa")


class ClosingContract:
    """Closing, at any time and twice."""

    async def test_closing_twice_is_closing_once(self, stage: Stage) -> None:
        transport = await stage.open(HANDLING, sends=(COMMANDS,), inbox=INBOX)

        await transport.close()
        await transport.close()

    async def test_closing_what_was_never_opened_is_nothing(self, broker: BrokerUnderTest) -> None:
        await broker.connect().close()

    async def test_iterations_end(self, stage: Stage) -> None:
        transport = await stage.open(HANDLING, inbox=INBOX)
        takings = [stage.take(transport, wanted) for wanted in (HANDLING, INBOX)]

        await transport.close()

        await until(lambda: all(taking.ended for taking in takings))

    async def test_sending_afterwards_is_refused(self, stage: Stage) -> None:
        transport = await stage.open(sends=(COMMANDS,))
        await transport.close()

        with pytest.raises(TransportUnavailableError):
            await transport.publish(sent_to(COMMANDS, "Late"))

    async def test_closing_while_the_broker_is_away_ends_whoever_waits(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        transport = await stage.open(HANDLING, sends=(COMMANDS,), inbox=INBOX)
        takings = [stage.take(transport, wanted) for wanted in (HANDLING, INBOX)]
        watching = Watching(transport)

        async with away(broker):
            await watching.until(there=False)
            sending = asyncio.create_task(transport.publish(sent_to(COMMANDS, "Waits")))
            await asyncio.sleep(0)
            async with in_time():
                await transport.close()
                with pytest.raises(TransportUnavailableError):
                    await sending
            await until(lambda: all(taking.ended for taking in takings))

    async def test_nothing_is_left_after_the_close(self, stage: Stage, broker: BrokerUnderTest) -> None:
        at_first = asyncio.all_tasks()
        await self._used(stage, broker)
        await self._used(stage, broker, lost=True)

        await until(lambda: asyncio.all_tasks() <= at_first, lambda: asyncio.all_tasks() - at_first)

    async def test_publishing_may_be_cancelled(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING)
        sender = await stage.open(sends=(COMMANDS,))

        for number in range(20):
            sending = asyncio.create_task(sender.publish(sent_to(COMMANDS, f"{number}a", f"{number}b")))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await taking.until_type("Last")

    @staticmethod
    async def _used(stage: Stage, broker: BrokerUnderTest, *, lost: bool = False) -> Transport:
        orders = Subscribing(EVENTS, "orders")
        transport = await stage.open(HANDLING, orders, sends=(COMMANDS, EVENTS), inbox=INBOX)
        takings = [stage.take(transport, wanted, settles=False) for wanted in (HANDLING, orders, INBOX)]
        for _ in range(1 + lost):
            await publish(transport, *((to, one) for to in (COMMANDS, EVENTS, INBOX) for _, one in sent_to(to, "Used")))
            for taking in takings:
                await taking.until_type("Used")
            if lost:
                watching = Watching(transport)
                async with away(broker):
                    await watching.until(there=False)
                await watching.until(there=True)
        takings[0].arrivals[0].settle()
        takings[1].arrivals[-1].refuse("of no use")
        await transport.close()
        return transport
