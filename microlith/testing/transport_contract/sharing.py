"""What a transport promises about several of one group: each parcel goes to one of them, and none is left over."""

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
from microlith.transports import Arrival, Subscribing

KEYS = tuple("ABCDEFGH")


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
        log: list[tuple[Taking, Arrival]] = []
        for _ in range(3):
            stage.take(await stage.open(HANDLING), HANDLING, settles=False, log=log)
        sender = await stage.open(sends=(COMMANDS,))

        async with in_time():
            while len(log) < 300 or (self.traits.shares and len({taking for taking, _ in log}) == 1):
                settled = len(log)
                sent = (one for key in range(60) for one in sent_to(COMMANDS, "Count", key=f"key {key}"))
                await publish(sender, *sent)
                for at in range(settled, settled + 60):
                    await until(partial(has_grown_to, log, at + 1), lambda: f"{len(log)} came")
                    log[at][1].settle()

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

        await taking.until_type("Four")
        assert taking.types == ["Two", "Three", "Four"]
        assert [arrival.again for arrival in taking.arrivals][:2] == [True, True]

    async def test_no_other_gets_a_key_while_one_has_it_unsettled(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        log: list[tuple[Taking, Arrival]] = []
        for _ in range(3):
            stage.take(await stage.open(HANDLING), HANDLING, prefetch=4, settles=False, log=log)
        sent = [one for number in range(12) for key in KEYS for one in sent_to(COMMANDS, f"{key}{number}", key=key)]

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
        orders, billing = Subscribing(EVENTS, "orders"), Subscribing(EVENTS, "billing")
        sharing = [(await stage.taking(orders))[1] for _ in range(2)]
        _, alone = await stage.taking(billing)
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *(one for key in KEYS for one in sent_to(EVENTS, f"{key}1", f"{key}2", key=key)))

        await alone.until(16)
        await until(lambda: sum(len(taking.arrivals) for taking in sharing) >= 16)
        assert sorted(name for taking in sharing for name in taking.types) == sorted(alone.types)
