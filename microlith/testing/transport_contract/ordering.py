"""What a transport promises about order: what has one key comes in the order it was sent, whatever happens between.

After a lost connection the same parcel may come again. Who drops what has come before, by its id, still sees each key in
order: that is what is looked at here.
"""

import asyncio
import random
from collections import Counter
from functools import partial

from microlith.testing.transport_contract.stage import (
    COMMANDS,
    EVENTS,
    HANDLING,
    BrokerUnderTest,
    Stage,
    Taking,
    Traits,
    away,
    has_grown_to,
    in_time,
    parcel,
    publish,
    until,
)
from microlith.transports import Address, Arrival, Parcel, Subscribing, Transport, TransportUnavailableError

KEYS = tuple("ABCDE")


class OrderingContract:
    """Order per key, with several senders and over lost connections."""

    traits: Traits

    async def test_key_keeps_its_order_within_and_between_batches(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=7)
        sender = await stage.open(sends=(COMMANDS,))
        sent = [parcel(f"{number}", KEYS[number % 5]) for number in range(400)]

        for start in range(0, 400, 80):
            await publish(sender, *((COMMANDS, one) for one in sent[start : start + 80]))

        await taking.until(400)
        in_order(taking, sent)

    async def test_several_senders_keep_the_order_of_their_keys(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING)
        senders = [await stage.open(sends=(COMMANDS,)) for _ in KEYS]

        async def send(sender: Transport, key: str) -> list[Parcel]:
            sent = [parcel(f"{key}{number}", key) for number in range(60)]
            for start in range(0, 60, 6):
                await publish(sender, *((COMMANDS, one) for one in sent[start : start + 6]))
            return sent

        sent = await asyncio.gather(*map(send, senders, KEYS))

        await taking.until(300)
        in_order(taking, [one for each in sent for one in each])

    async def test_key_keeps_its_order_when_takers_come_and_go(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        sent = [parcel(f"{number}", KEYS[number % 5]) for number in range(200)]
        log: list[tuple[Taking, Arrival]] = []
        await publish(sender, *((COMMANDS, one) for one in sent[:100]))

        for turn in range(1, 5):
            transport = await stage.open(HANDLING)
            stage.take(transport, HANDLING, log=log)
            await until(partial(has_grown_to, log, 20 * turn))
            await transport.close()
        stage.take(await stage.open(HANDLING), HANDLING, log=log)
        await publish(sender, *((COMMANDS, one) for one in sent[100:]))

        await until(lambda: {arrival.parcel.attributes["type"] for _, arrival in log} >= {"198", "199"})
        await until(lambda: len({arrival.parcel.attributes["id"] for _, arrival in log}) == 200)
        assert_in_order([arrival.parcel for _, arrival in log], sent, keyed=self.traits.keyed)

    async def test_lost_connections_lose_nothing_and_keep_the_order_of_keys(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        group = Subscribing(EVENTS, "orders")
        receiver = await stage.open(HANDLING, group)
        log: list[tuple[Taking, Arrival]] = []
        takings = [stage.take(receiver, wanted, log=log) for wanted in (HANDLING, group)]
        sending = [Sending(await stage.open(sends=(COMMANDS, EVENTS)), keys) for keys in ("AB", "CD")]
        chance = random.Random(5)

        for _ in range(4):
            await until(partial(has_grown_to, log, len(log) + chance.randrange(1, 80)))
            await until(lambda: any(each.waits for each in sending), pause=0)
            async with away(broker):
                await asyncio.sleep(0.02)  # so long it is away; who sends goes on trying
        sent = [one for each in sending for one in await each.end()]

        ids = {one.attributes["id"] for one in sent}
        resent = sum((each.resent for each in sending), Counter[str]())
        for taking, keyed in zip(takings, (self.traits.keyed, True), strict=True):
            await until(partial(has_all, taking, ids))
            in_order(taking, sent, keyed=keyed)
            fresh = Counter(arrival.parcel.attributes["id"] for arrival in taking.arrivals if not arrival.again)
            assert all(times <= 1 + resent[name] for name, times in fresh.items())


class Sending:
    """Sends one batch after the other until it is told to end; each to the commands and to the events.

    Attributes:
        resent: How often each parcel was sent again, by its id.
        waits: Whether a batch is under way.
    """

    def __init__(self, sender: Transport, keys: str) -> None:
        self.resent: Counter[str] = Counter()
        self.waits = False
        self._sender = sender
        self._keys = keys
        self._sent: list[Parcel] = []
        self._ends = False
        self._task = asyncio.create_task(self._send())

    async def end(self) -> list[Parcel]:
        """Finish the batch that is under way; return all that was sent."""
        self._ends = True
        async with in_time():
            await self._task
        return self._sent

    async def _send(self) -> None:
        while not self._ends:
            new = [parcel(f"{key}{len(self._sent)}", key) for _ in range(10) for key in self._keys]
            batch: list[tuple[Address, Parcel]] = [(to, one) for one in new for to in (COMMANDS, EVENTS)]
            while not await self._taken(batch):
                self.resent.update(one.attributes["id"] for one in new)
            self._sent.extend(new)
            await asyncio.sleep(0.001)

    async def _taken(self, batch: list[tuple[Address, Parcel]]) -> bool:
        self.waits = True
        try:
            await self._sender.publish(batch)
        except TransportUnavailableError:
            return False
        finally:
            self.waits = False
        return True


def has_all(taking: Taking, ids: set[str]) -> bool:
    """Tell whether all of these have come."""
    return {arrival.parcel.attributes["id"] for arrival in taking.arrivals} >= ids


def in_order(taking: Taking, sent: list[Parcel], *, keyed: bool = True) -> None:
    """Assert that what came is what was sent: all of it, and each key in its order when repetitions are dropped."""
    assert_in_order([arrival.parcel for arrival in taking.arrivals], sent, keyed=keyed)


def assert_in_order(came: list[Parcel], sent: list[Parcel], *, keyed: bool = True) -> None:
    """Assert the same of parcels; without the order of keys where those who come and go share them."""
    first = list(dict.fromkeys(one.attributes["id"] for one in came))
    keys = {one.attributes["id"]: one.key for one in sent}
    assert set(first) == set(keys)
    for key in set(keys.values()) if keyed else ():
        assert [name for name in first if keys[name] == key] == [name for name, of in keys.items() if of == key]
