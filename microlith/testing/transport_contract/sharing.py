"""What a transport promises about several of one group: each parcel goes to one of them, and none is left over."""

from collections.abc import AsyncIterator
from functools import partial

from microlith.testing.transport_contract.stage import (
    COMMANDS,
    EVENTS,
    HANDLING,
    Stage,
    Taking,
    Traits,
    has_grown_to,
    in_time,
    publish,
    sent_to,
    until,
)
from microlith.transports import Arrival, Subscribing, Transport

KEYS = tuple("ABCDEFGH")
ORDERS = Subscribing(EVENTS, "orders")
Log = list[tuple[Taking, Arrival]]


class SharingContract:
    """Competition, and what happens when one of the group goes."""

    traits: Traits

    async def test_each_parcel_goes_to_one_of_the_group(self, stage: Stage) -> None:
        takings = [(await stage.taking(HANDLING))[1] for _ in range(3)]
        sender = await stage.open(sends=(COMMANDS,))

        for number in range(10):
            await publish(sender, *(one for key in KEYS for one in sent_to(COMMANDS, f"{key}{number}", key=key)))

        everybody = {f"{key}{number}" for key in KEYS for number in range(10)}
        await until(lambda: {name for each in takings for name in each.types} >= everybody)
        came = [name for taking in takings for name in taking.types]
        assert sorted(came) == sorted(everybody)

    async def test_several_share_the_work_where_the_broker_shares_it(self, stage: Stage) -> None:
        log: Log = []
        for _ in range(3):
            stage.take(await stage.open(HANDLING), HANDLING, settles=False, log=log)
        sender = await stage.open(sends=(COMMANDS,))

        await self._share(sender, log, 300)

        assert (len({taking for taking, _ in log}) > 1) == self.traits.shares

    async def test_what_one_has_not_settled_goes_to_another_when_it_closes(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        first, held = await stage.taking(HANDLING, settles=False)
        await publish(sender, *sent_to(COMMANDS, "One", "Two", "Three", key="A"))
        await held.until(3)
        _, taking = await stage.taking(HANDLING)

        held.arrivals[0].settle()
        await first.close()
        await publish(sender, *sent_to(COMMANDS, "Four", key="A"))

        await taking.when(lambda: {"Two", "Three", "Four"} <= set(taking.types))
        again = {arrival.parcel.attributes["type"]: arrival.again for arrival in taking.arrivals}
        assert again == {"Two": True, "Three": True, "Four": again["Four"]}
        assert len(taking.types) == 3
        assert taking.types == ["Two", "Three", "Four"] or not self.traits.keyed

    async def test_what_two_share_is_all_done_when_one_closes_and_comes_again_where_it_was_not_settled(
        self, stage: Stage
    ) -> None:
        log: Log = []
        transports = [await stage.open(HANDLING) for _ in range(2)]
        takings = [stage.take(transport, HANDLING, settles=False, log=log) for transport in transports]
        sender = await stage.open(sends=(COMMANDS,))
        await self._share(sender, log)
        before = [len(taking.arrivals) for taking in takings]
        sent = [one for number in range(40) for one in sent_to(COMMANDS, f"{number}", key=f"key {number}")]

        def held() -> list[list[Arrival]]:
            return [taking.arrivals[start:] for taking, start in zip(takings, before, strict=True)]

        await publish(sender, *sent)
        await until(lambda: sum(len(each) > 1 for each in held()) == 1 + self.traits.shares)
        going = max((0, 1), key=lambda at: len(held()[at]))
        staying = takings[1 - going]
        settled, *left = held()[going]
        settled.settle()
        await transports[going].close()

        wanted = {one.attributes["id"] for _, one in sent} - {settled.parcel.attributes["id"]}
        came: dict[str, bool] = {}
        at = before[1 - going]
        while not came.keys() >= wanted:
            arrival = (await staying.until(at + 1))[at]
            came.setdefault(arrival.parcel.attributes["id"], arrival.again)
            arrival.settle()
            at += 1
        assert came.keys() == wanted
        assert all(came[arrival.parcel.attributes["id"]] for arrival in left)

    async def test_who_leaves_the_iteration_leaves_the_rest_to_another_where_several_take(self, stage: Stage) -> None:
        async def take_one(coming: AsyncIterator[Arrival]) -> Arrival:
            async for arrival in coming:
                return arrival
            raise AssertionError("it ended")

        sender = await stage.open(sends=(COMMANDS,))
        transport = await stage.open(HANDLING)
        await publish(sender, *(one for key in KEYS for one in sent_to(COMMANDS, f"{key}1", key=key)))
        async with in_time():
            taken = await take_one(transport.subscribe(HANDLING, prefetch=10))
        if not self.traits.shares:
            await transport.close()
        _, taking = await stage.taking(HANDLING)
        taken.settle()

        await publish(sender, *(one for key in KEYS for one in sent_to(COMMANDS, f"{key}2", key=key)))

        rest = {f"{key}{number}" for key in KEYS for number in (1, 2)} - {taken.parcel.attributes["type"]}
        await taking.when(lambda: set(taking.types) >= rest)

    async def test_no_other_gets_a_key_while_one_has_it_unsettled(self, stage: Stage) -> None:
        wanted = HANDLING if self.traits.keyed else ORDERS
        sender = await stage.open(sends=(wanted.topic,))
        log: Log = []
        for _ in range(3):
            stage.take(await stage.open(wanted), wanted, prefetch=4, settles=False, log=log)
        sent = [one for number in range(12) for key in KEYS for one in sent_to(wanted.topic, f"{key}{number}", key=key)]

        await publish(sender, *sent)

        for settled in range(len(sent)):
            await until(partial(has_grown_to, log, settled + 1), lambda: f"{len(log)} came")
            holders = {(arrival.parcel.key, taking) for taking, arrival in log[settled:]}
            assert len({key for key, _ in holders}) == len(holders), "two of the group have the same key"
            log[settled][1].settle()
        for key in KEYS:
            came = [arrival.parcel.attributes["type"] for _, arrival in log if arrival.parcel.key == key]
            assert came == [f"{key}{number}" for number in range(12)]

    async def test_groups_of_events_share_in_the_same_way(self, stage: Stage) -> None:
        billing = Subscribing(EVENTS, "billing")
        sharing = [(await stage.taking(ORDERS))[1] for _ in range(2)]
        _, alone = await stage.taking(billing)
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *(one for key in KEYS for one in sent_to(EVENTS, f"{key}1", f"{key}2", key=key)))

        await alone.until(16)
        await until(lambda: sum(len(taking.arrivals) for taking in sharing) >= 16)
        assert sorted(name for taking in sharing for name in taking.types) == sorted(alone.types)

    async def _share(self, sender: Transport, log: Log, number: int = 60) -> None:
        """Send commands and settle what comes, so many at least, until more than one has taken some where several can."""
        async with in_time():
            while len(log) < number or (self.traits.shares and len({taking for taking, _ in log}) == 1):
                settled = len(log)
                sent = (one for key in range(60) for one in sent_to(COMMANDS, "Count", key=f"key {key}"))
                await publish(sender, *sent)
                for at in range(settled, settled + 60):
                    await until(partial(has_grown_to, log, at + 1), lambda: f"{len(log)} came")
                    log[at][1].settle()
