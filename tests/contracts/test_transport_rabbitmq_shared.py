"""What `shared=yes` changes at a RabbitMQ: which queues, how much one process fetches ahead, and what one leaves to others."""

import asyncio

import pytest

from microlith.testing.transport_contract import Stage
from microlith.testing.transport_contract.stage import (
    ANSWERING,
    COMMANDS,
    EVENTS,
    HANDLING,
    QUERIES,
    Watching,
    away,
    in_time,
    publish,
    sent_to,
    until,
)
from microlith.transports import Subscribing, Topology, TopologyDriftError, make_transport
from microlith.transports.rabbitmq.transport import SHARED_PREFETCH
from tests.contracts.at_rabbitmq import BrokerAtRabbitMQ
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

ORDERS = Subscribing(EVENTS, "orders")
MANY = tuple(f"{number}" for number in range(4 * SHARED_PREFETCH))


@pytest.fixture
def broker(rabbitmq, rabbitmq_url):
    with Proxy(rabbitmq.port) as proxy:
        yield BrokerAtRabbitMQ(rabbitmq_url, proxy, "&shared=yes")


@pytest.fixture
async def stage(broker):
    stage = Stage(broker)
    yield stage
    await stage.close()


async def test_queues_of_commands_let_several_take_and_those_of_events_one(stage, rabbitmq, rabbitmq_url):
    await stage.open(HANDLING, ORDERS, sends=(COMMANDS,))

    made = await asyncio.to_thread(rabbitmq.manage, "GET", f"queues/{rabbitmq_url.rpartition('/')[2]}")

    commands, events = (
        next(queue["arguments"] for queue in made if queue["name"] == f"{stage.app}.{name}")
        for name in ("commands.stock", "events.stock.orders")
    )
    assert "x-single-active-consumer" not in commands
    assert events == {**commands, "x-single-active-consumer": True}
    assert commands["x-queue-type"] == "quorum"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("no", "yes", "made for one process at a time, not for shared=yes; delete it once it is empty"),
        ("yes", "no", "made for shared=yes, not for one process at a time; delete it once it is empty"),
    ],
    ids=["added", "dropped"],
)
async def test_queue_that_was_made_the_other_way_is_told_with_what_to_do(rabbitmq_url, before, now, told):
    topology = Topology("shop", sends=(COMMANDS,), takes=(HANDLING, ORDERS))
    one, other = (make_transport(f"{rabbitmq_url}?shared={shared}") for shared in (before, now))
    await one.open(topology)

    changes = await other.plan(topology)
    with pytest.raises(TopologyDriftError) as refused:
        await other.open(topology)
    await one.close()

    assert changes == [("differs", "queue", "shop.commands.stock", told)]
    assert refused.value.differences == (f"queue shop.commands.stock: {told}",)


async def test_process_fetches_no_more_commands_than_it_needs_and_a_second_finds_the_rest(stage):
    sender = await stage.open(sends=(COMMANDS, EVENTS))
    first, second = [await stage.open(HANDLING) for _ in range(2)]
    held = stage.take(first, HANDLING, prefetch=200, settles=False)
    await publish(sender, *sent_to(COMMANDS, *MANY))
    await held.until(SHARED_PREFETCH)

    taking = stage.take(second, HANDLING, prefetch=200)

    await taking.until(len(MANY) - SHARED_PREFETCH)
    assert held.types == list(MANY[:SHARED_PREFETCH])
    assert taking.types == list(MANY[SHARED_PREFETCH:])


async def test_events_are_fetched_as_far_ahead_as_without_it(stage):
    _, held = await stage.taking(ORDERS, prefetch=200, settles=False)
    sender = await stage.open(sends=(EVENTS,))

    await publish(sender, *sent_to(EVENTS, *MANY))

    await held.until(len(MANY))


@pytest.mark.parametrize(("topic", "wanted"), [(COMMANDS, HANDLING), (QUERIES, ANSWERING)], ids=["command", "query"])
async def test_who_leaves_gives_back_what_nobody_has_seen_and_may_settle_the_rest(stage, topic, wanted):
    first = await stage.open(wanted)
    coming = first.subscribe(wanted, prefetch=10)
    waiting = asyncio.ensure_future(anext(coming))
    sender = await stage.open(sends=(topic,))
    _, taking = await stage.taking(wanted, prefetch=1, settles=False)
    await publish(sender, *sent_to(topic, *MANY[:12]))
    async with in_time():
        seen = await waiting
    await taking.until(1)

    await coming.aclose()

    for number in range(1, 12):  # all but what the first has seen
        await taking.until(number)
        taking.arrivals[-1].settle()
    seen.settle()
    await publish(sender, *sent_to(topic, "Last"))
    await taking.until_type("Last")
    assert sorted([seen.parcel.attributes["type"], *taking.types]) == sorted([*MANY[:12], "Last"])


async def test_what_is_settled_between_leaving_and_closing_does_not_come_again(stage):
    sender = await stage.open(sends=(COMMANDS,))
    for number in range(10):
        transport = await stage.open(HANDLING)
        coming = transport.subscribe(HANDLING, prefetch=32)
        await publish(sender, *sent_to(COMMANDS, f"Done{number}", f"Left{number}"))
        async with in_time():
            while (arrival := await anext(coming)).parcel.attributes["type"] != f"Done{number}":
                pass
        await coming.aclose()
        for _ in range(number):  # from not begun to long done
            await asyncio.sleep(0)
        if number % 2:
            arrival.settle()
        else:
            arrival.refuse("of no use")
        await transport.close()

    _, taking = await stage.taking(HANDLING)

    await taking.until(10)
    await publish(sender, *sent_to(COMMANDS, "Last"))
    await taking.until_type("Last")
    assert sorted(taking.types) == ["Last", *(f"Left{number}" for number in range(10))]


async def test_who_has_left_takes_nothing_over_a_new_connection(stage, broker):
    first = await stage.open(HANDLING)
    sender = await stage.open(sends=(COMMANDS,))
    await publish(sender, *sent_to(COMMANDS, "One"))
    coming = first.subscribe(HANDLING, prefetch=10)
    async with in_time():
        await anext(coming)
    await coming.aclose()
    watching = Watching(first)

    async with away(broker):
        await watching.until(there=False)
    await watching.until(there=True)
    await publish(sender, *sent_to(COMMANDS, *MANY[:20]))

    _, taking = await stage.taking(HANDLING)
    await until(lambda: {"One", *MANY[:20]} <= set(taking.types))
