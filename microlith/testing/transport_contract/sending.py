"""What a transport promises about what is sent: where it goes, what is kept, and that it arrives as it was."""

import asyncio

import pytest

from microlith.testing.transport_contract.stage import (
    ANSWERING,
    COMMANDS,
    EVENTS,
    HANDLING,
    QUERIES,
    Stage,
    parcel,
    publish,
    sent_to,
)
from microlith.transports import Address, Inbox, Parcel, ParcelRefusedError, Subscribing, Topic

LARGEST = 1024 * 1024
"""What every transport takes: 1 MiB."""


class SendingContract:
    """Commands, queries, events; what arrives; what is refused."""

    async def test_command_is_taken_by_its_component_and_no_other(self, stage: Stage) -> None:
        other = Subscribing(Topic("command", "till"), "till")
        _, taking = await stage.taking(HANDLING)
        _, elsewhere = await stage.taking(other)
        sender = await stage.open(sends=(COMMANDS, other.topic))

        await publish(sender, *sent_to(COMMANDS, "Count", "Recount"), *sent_to(other.topic, "Open"))

        await taking.until(2)
        await elsewhere.until(1)
        assert (taking.types, elsewhere.types) == (["Count", "Recount"], ["Open"])

    async def test_command_is_kept_for_a_component_that_has_never_been_there(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, "Count", "Recount"))

        _, taking = await stage.taking(HANDLING)
        await publish(sender, *sent_to(COMMANDS, "Uncount"))

        await taking.until(3)
        assert taking.types == ["Count", "Recount", "Uncount"]

    async def test_command_of_a_type_that_is_not_taken_counts_as_settled(self, stage: Stage) -> None:
        wanted = HANDLING._replace(types=frozenset({"Count"}))
        sender = await stage.open(sends=(COMMANDS,))
        _, taking = await stage.taking(wanted, prefetch=2)

        await publish(sender, *sent_to(COMMANDS, *["Unknown"] * 5, "Count"))

        await taking.until(1)
        assert taking.types == ["Count"]

    async def test_event_is_taken_once_by_each_group(self, stage: Stage) -> None:
        groups = [Subscribing(EVENTS, name) for name in ("orders", "billing", "mail")]
        takings = [(await stage.taking(group))[1] for group in groups]
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *sent_to(EVENTS, "Stored", "Taken"))

        for taking in takings:
            await taking.until(2)
            assert taking.types == ["Stored", "Taken"]

    async def test_group_gets_the_types_it_takes_and_no_others(self, stage: Stage) -> None:
        _, some = await stage.taking(Subscribing(EVENTS, "orders", frozenset({"Taken", "Ended"})))
        _, every = await stage.taking(Subscribing(EVENTS, "audit"))
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *sent_to(EVENTS, "Stored", "Taken", "TakenBack", "Ended"))

        await some.until_type("Ended")
        await every.until_type("Ended")
        assert some.types == ["Taken", "Ended"]
        assert every.types == ["Stored", "Taken", "TakenBack", "Ended"]

    async def test_group_may_take_from_several_components(self, stage: Stage) -> None:
        till = Topic("event", "till")
        groups = [Subscribing(EVENTS, "orders", frozenset({"Stored"})), Subscribing(till, "orders")]
        receiver = await stage.open(*groups)
        takings = [stage.take(receiver, group) for group in groups]
        sender = await stage.open(sends=(EVENTS, till))

        await publish(sender, *sent_to(EVENTS, "Stored", "Taken"), *sent_to(till, "Stored", "Paid"))

        await takings[0].until(1)
        await takings[1].until(2)
        assert [taking.types for taking in takings] == [["Stored"], ["Stored", "Paid"]]

    async def test_types_of_dotted_names_are_told_apart(self, stage: Stage) -> None:
        _, taking = await stage.taking(Subscribing(EVENTS, "orders", frozenset({"stock.Taken", "Ended"})))
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *sent_to(EVENTS, "Taken", "stock", "stock.Taken.Twice", "stock.Taken", "Ended"))

        await taking.until_type("Ended")
        assert taking.types == ["stock.Taken", "Ended"]

    async def test_group_that_takes_other_types_from_now_on_gets_those(self, stage: Stage) -> None:
        before = Subscribing(EVENTS, "orders", frozenset({"Stored"}))
        after = Subscribing(EVENTS, "orders", frozenset({"Taken", "Ended"}))
        sender = await stage.open(sends=(EVENTS,))
        first = await stage.open(before)
        await first.close()

        _, taking = await stage.taking(after)
        await publish(sender, *sent_to(EVENTS, "Stored", "Taken", "Ended"))

        await taking.until_type("Ended")
        assert taking.types == ["Taken", "Ended"]

    async def test_new_group_begins_with_what_is_sent_from_then_on(self, stage: Stage) -> None:
        sender = await stage.open(sends=(EVENTS,))
        await publish(sender, *sent_to(EVENTS, "Before"))

        transport = await stage.open(Subscribing(EVENTS, "late"))
        await publish(sender, *sent_to(EVENTS, "After"))
        taking = stage.take(transport, Subscribing(EVENTS, "late"))

        await taking.until_type("After")
        assert taking.types == ["After"]

    async def test_group_that_was_there_gets_what_was_sent_while_it_was_gone(self, stage: Stage) -> None:
        group = Subscribing(EVENTS, "orders")
        sender = await stage.open(sends=(EVENTS,))
        first, taking = await stage.taking(group)
        await publish(sender, *sent_to(EVENTS, "One"))
        await taking.until(1)
        await first.close()

        await publish(sender, *sent_to(EVENTS, "Two", "Three"))
        _, later = await stage.taking(group)

        await later.until(2)
        assert later.types == ["Two", "Three"]

    async def test_event_that_nobody_takes_is_swallowed(self, stage: Stage) -> None:
        sender = await stage.open(sends=(EVENTS,))

        await publish(sender, *sent_to(EVENTS, "Stored"))

    async def test_query_reaches_whoever_listens(self, stage: Stage) -> None:
        _, taking = await stage.taking(ANSWERING)
        sender = await stage.open(sends=(QUERIES,))

        await publish(sender, *sent_to(QUERIES, "HowMany"))

        assert (await taking.until(1))[0].parcel.attributes["type"] == "HowMany"

    async def test_query_is_lost_when_nobody_listens(self, stage: Stage) -> None:
        sender = await stage.open(sends=(QUERIES,))
        await publish(sender, *sent_to(QUERIES, "TooEarly"))
        listener, heard = await stage.taking(ANSWERING)
        await publish(sender, *sent_to(QUERIES, "InTime"))
        await heard.until(1)
        await listener.close()

        await publish(sender, *sent_to(QUERIES, "TooLate"))
        _, later = await stage.taking(ANSWERING)
        await publish(sender, *sent_to(QUERIES, "InTimeAgain"))

        await later.until_type("InTimeAgain")
        assert (heard.types, later.types) == (["InTime"], ["InTimeAgain"])

    @pytest.mark.parametrize(
        "sent",
        [
            parcel("Empty", data=b""),
            parcel("Binary", data=bytes(range(256)) * 16, datacontenttype="application/octet-stream"),
            parcel("Largest", "key", data=b"\x00" * LARGEST),
            parcel(
                "Strange",
                "schl\u00fcssel \U0001f511",
                subject="Gr\u00f6\u00dfe \u4f60\u597d \U0001f98a \u202e",
                headers='{"a": "\u00e9"}',
            ),
            parcel("Controls", "a\tb", subject="line\r\nline\x1b[2J\x00end", traceparent=""),
            parcel("LongTexts", "k" * 1000, id="i" * 1000, headers="h" * 20_000, datacontenttype="text/" + "x" * 300),
        ],
        ids=lambda sent: sent.attributes["type"],
    )
    @pytest.mark.parametrize("kind", ["command", "event", "query", "inbox"])
    async def test_parcel_arrives_as_it_was_sent(self, stage: Stage, kind: str, sent: Parcel) -> None:
        address: Address
        if kind == "inbox":
            address = wanted = Inbox("asker-1")
            transport = await stage.open(inbox=wanted)
            taking = stage.take(transport, wanted)
        else:
            address = {"command": COMMANDS, "event": EVENTS, "query": QUERIES}[kind]
            _, taking = await stage.taking(Subscribing(address, "stock"))
        sender = await stage.open(sends=(COMMANDS, EVENTS, QUERIES))

        await publish(sender, (address, sent))

        arrived = (await taking.until(1))[0].parcel
        assert dict(arrived.attributes) == dict(sent.attributes)
        assert arrived.data == sent.data
        assert arrived.key == sent.key

    async def test_batch_for_several_addresses_reaches_all_of_them(self, stage: Stage) -> None:
        inbox = Inbox("asker-2")
        group = Subscribing(EVENTS, "orders")
        one = parcel("Stored", "A")
        receiver = await stage.open(HANDLING, group, inbox=inbox)
        takings = [stage.take(receiver, wanted) for wanted in (HANDLING, group, inbox)]
        sender = await stage.open(sends=(COMMANDS, EVENTS))

        await publish(sender, (EVENTS, one), (inbox, one), (COMMANDS, one))

        for taking in takings:
            assert (await taking.until(1))[0].parcel.attributes == one.attributes

    async def test_batch_of_nothing_is_sent_at_once(self, stage: Stage) -> None:
        sender = await stage.open(sends=(COMMANDS,))

        await sender.publish([])

    async def test_calls_may_be_under_way_at_a_time(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING, prefetch=50)
        sender = await stage.open(sends=(COMMANDS,))

        await asyncio.gather(*(publish(sender, *sent_to(COMMANDS, f"{at}a", f"{at}b")) for at in range(100)))

        await taking.until(200)
        assert sorted(taking.types) == sorted(f"{at}{half}" for at in range(100) for half in "ab")
        assert all(taking.types.index(f"{at}a") < taking.types.index(f"{at}b") for at in range(100))

    async def test_application_hears_nothing_of_another_one(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING)
        stranger = await stage.open(sends=(COMMANDS,), app=f"{stage.app}-other")
        sender = await stage.open(sends=(COMMANDS,))

        await publish(stranger, *sent_to(COMMANDS, "Strange"))
        await publish(sender, *sent_to(COMMANDS, "Own"))

        await taking.until_type("Own")
        assert taking.types == ["Own"]

    async def test_parcel_too_large_is_refused_and_those_before_it_are_taken(self, stage: Stage) -> None:
        _, taking = await stage.taking(HANDLING)
        sender = await stage.open(sends=(COMMANDS,))
        large = (COMMANDS, parcel("TooLarge", data=b"x" * (sender.largest + 1)))
        parcels = [*sent_to(COMMANDS, "One", "Two"), large, *sent_to(COMMANDS, "Behind"), large]

        with pytest.raises(ParcelRefusedError) as refused:
            await sender.publish(parcels)
        await publish(sender, *sent_to(COMMANDS, "Last"))

        await taking.until_type("Last")
        assert sender.largest >= LARGEST
        assert refused.value.index == 2
        assert [name for name in taking.types if name != "Behind"] == ["One", "Two", "Last"]
