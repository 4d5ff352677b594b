"""What a transport promises about inboxes: each process hears its own, and a gone one swallows."""

import asyncio

from microlith.testing.transport_contract.stage import COMMANDS, Stage, parcel, publish, sent_to
from microlith.transports import Inbox

HERE, THERE = Inbox("shop-1-aaaa"), Inbox("shop-2-bbbb")


class ListeningContract:
    """Inboxes."""

    async def test_each_inbox_hears_what_is_sent_to_it_in_order(self, stage: Stage) -> None:
        takings = [stage.take(await stage.open(inbox=inbox), inbox) for inbox in (HERE, THERE)]
        sender = await stage.open(sends=(COMMANDS,))

        await publish(sender, *sent_to(HERE, "One", "Two"), *sent_to(THERE, "Three"), *sent_to(HERE, "Four"))

        await takings[0].until(3)
        await takings[1].until(1)
        assert [taking.types for taking in takings] == [["One", "Two", "Four"], ["Three"]]

    async def test_process_may_send_to_its_own_inbox(self, stage: Stage) -> None:
        transport = await stage.open(inbox=HERE)
        taking = stage.take(transport, HERE)

        await publish(transport, *sent_to(HERE, "Self"))

        assert (await taking.until(1))[0].parcel.attributes["type"] == "Self"

    async def test_what_was_sent_before_somebody_listens_is_heard(self, stage: Stage) -> None:
        transport = await stage.open(inbox=HERE)
        await publish(transport, *sent_to(HERE, "Early"))

        taking = stage.take(transport, HERE)

        assert (await taking.until(1))[0].parcel.attributes["type"] == "Early"

    async def test_nothing_need_be_settled(self, stage: Stage) -> None:
        transport = await stage.open(inbox=HERE)
        taking = stage.take(transport, HERE, settles=False)
        sender = await stage.open(sends=(COMMANDS,))

        for start in range(0, 3000, 500):
            await publish(sender, *((HERE, parcel(str(number))) for number in range(start, start + 500)))

        await taking.until(3000)
        assert taking.types == [str(number) for number in range(3000)]
        taking.arrivals[0].settle()

    async def test_inbox_that_is_gone_or_never_was_swallows(self, stage: Stage) -> None:
        gone = await stage.open(inbox=THERE)
        await gone.close()
        taking = stage.take(await stage.open(inbox=HERE), HERE)
        sender = await stage.open(sends=(COMMANDS,))

        await publish(sender, *sent_to(THERE, "Lost"), *sent_to(Inbox("never-was"), "Lost"), *sent_to(HERE, "Heard"))

        await taking.until_type("Heard")

    async def test_inbox_of_the_same_name_begins_anew(self, stage: Stage) -> None:
        gone = await stage.open(inbox=HERE)
        await publish(gone, *sent_to(HERE, "Old"))
        await gone.close()

        transport = await stage.open(inbox=HERE)
        taking = stage.take(transport, HERE)
        await publish(transport, *sent_to(HERE, "New"))

        await taking.until_type("New")
        assert taking.types == ["New"]

    async def test_many_inboxes_cost_no_order(self, stage: Stage) -> None:
        inboxes = [Inbox(f"shop-{number}") for number in range(10)]
        takings = [stage.take(await stage.open(inbox=inbox), inbox) for inbox in inboxes]
        sender = await stage.open(sends=(COMMANDS,))

        await asyncio.gather(*(publish(sender, *((inbox, parcel(str(at))) for at in range(20))) for inbox in inboxes))

        for taking in takings:
            await taking.until(20)
            assert taking.types == [str(at) for at in range(20)]
