"""What only RabbitMQ can do, or do wrong: queues that are deleted, alarms, other clients, limits of its protocol."""

import asyncio
from datetime import UTC, datetime

import aiormq
import pytest
from aiormq import ChannelInvalidStateError, spec

from microlith.testing.transport_contract import Stage
from microlith.testing.transport_contract.stage import (
    ANSWERING,
    COMMANDS,
    EVENTS,
    HANDLING,
    PATIENCE,
    QUERIES,
    Watching,
    away,
    in_time,
    parcel,
    publish,
    sent_to,
    until,
)
from microlith.transports import (
    Address,
    Inbox,
    Parcel,
    ParcelRefusedError,
    Subscribing,
    Topic,
    Topology,
    TopologyDriftError,
    TransportUnavailableError,
    make_transport,
)
from microlith.transports.rabbitmq.line import Connected, Line
from microlith.transports.rabbitmq.place import place_of
from microlith.transports.rabbitmq.topology import DELIVERY_LIMIT
from tests.contracts.at_rabbitmq import BrokerAtRabbitMQ
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

INBOX = Inbox("asker-1")
NEEDED = Topology("shop", takes=(HANDLING,))


@pytest.fixture
def broker(rabbitmq, rabbitmq_url):
    with Proxy(rabbitmq.port) as proxy:
        yield BrokerAtRabbitMQ(rabbitmq_url, proxy)


@pytest.fixture
async def stage(broker):
    stage = Stage(broker)
    yield stage
    await stage.close()


@pytest.fixture
async def stranger(broker):
    """A channel of another client."""
    async with aiormq.connect(broker.amqp) as connection:
        yield await connection.channel()


async def gone(broker, delete):
    """Delete something, on a channel of its own."""
    async with aiormq.connect(broker.amqp) as connection:
        await delete(await connection.channel())


async def taken_from(broker, queue):
    """Wait until somebody takes from a queue: the broker tells nobody of its end who is just coming."""
    async with asyncio.timeout(PATIENCE), aiormq.connect(broker.amqp) as connection:
        channel = await connection.channel()
        while True:
            found = await channel.queue_declare(queue, passive=True)
            if found.consumer_count:
                return
            await asyncio.sleep(0.02)


async def test_deleted_queue_is_made_again_for_who_takes_from_it(stage, broker):
    orders = Subscribing(EVENTS, "orders", frozenset({"Stored"}))
    receiver = await stage.open(HANDLING, ANSWERING, orders, inbox=INBOX)
    wanted: tuple[Subscribing | Inbox, ...] = (HANDLING, ANSWERING, orders, INBOX)
    addresses: tuple[Address, ...] = (COMMANDS, QUERIES, EVENTS, INBOX)
    takings = [stage.take(receiver, one) for one in wanted]
    sender = await stage.open(sends=(COMMANDS, QUERIES, EVENTS))
    names = ("commands.stock", "queries.stock", "events.stock.orders", "inbox.asker-1")

    for name in names:
        await taken_from(broker, f"{stage.app}.{name}")
        await gone(broker, lambda channel, name=name: channel.queue_delete(f"{stage.app}.{name}"))

    for address, taking in zip(addresses, takings, strict=True):
        async with asyncio.timeout(PATIENCE):  # a quorum queue costs a slow disk seconds
            while not taking.arrivals:  # what is sent before the queue is back is lost where nothing is kept
                await publish(sender, *sent_to(address, "Stored"))
                await asyncio.sleep(0.02)


async def test_deleted_queue_of_a_component_that_is_not_there_is_made_again_by_who_sends(stage, broker):
    sender = await stage.open(sends=(COMMANDS,))
    await gone(broker, lambda channel: channel.queue_delete(f"{stage.app}.commands.stock"))

    await sender.publish(sent_to(COMMANDS, "One", "Two", "Three", key="A"))

    _, taking = await stage.taking(HANDLING)
    await taking.until(3)
    assert taking.types == ["One", "Two", "Three"]


async def test_deleted_exchange_is_made_again(stage, broker):
    _, taking = await stage.taking(HANDLING)
    sender = await stage.open(sends=(COMMANDS, EVENTS))

    for exchange in ("commands", "events"):
        await gone(broker, lambda channel, name=exchange: channel.exchange_delete(f"{stage.app}.{name}"))
    await publish(sender, *sent_to(COMMANDS, "One"), *sent_to(EVENTS, "Stored"), *sent_to(COMMANDS, "Two"))

    await taking.until(2)
    assert list(dict.fromkeys(taking.types)) == ["One", "Two"]


async def test_command_for_a_component_that_was_not_announced_is_refused_and_nobody_else_is_disturbed(stage):
    _, taking = await stage.taking(HANDLING)
    sender = await stage.open(sends=(COMMANDS,))
    others = asyncio.gather(*(publish(sender, *sent_to(COMMANDS, f"{number}")) for number in range(50)))

    with pytest.raises(TopologyDriftError, match="till"):
        await sender.publish(sent_to(Topic("command", "till"), "Open"))
    with pytest.raises(TopologyDriftError, match="events"):
        await sender.publish(sent_to(EVENTS, "Stored"))

    await others
    await taking.until(50)


async def test_queue_that_comes_back_with_other_settings_stops_its_component_and_nothing_else(stage, broker, caplog):
    orders = Subscribing(EVENTS, "orders")
    receiver = await stage.open(HANDLING, orders)
    handling, following = stage.take(receiver, HANDLING), stage.take(receiver, orders)
    sender = await stage.open(sends=(EVENTS,))
    name = f"{stage.app}.commands.stock"

    async def replace(channel):
        await channel.queue_delete(name)
        await channel.queue_declare(name, durable=True, auto_delete=True)

    await gone(broker, replace)
    await until(lambda: any("differs from what the application needs" in record.message for record in caplog.records))
    await publish(sender, *sent_to(EVENTS, "Stored"))
    await following.until(1)
    await gone(broker, lambda channel: channel.queue_delete(name))
    await publish(await stage.open(sends=(COMMANDS,)), *sent_to(COMMANDS, "Count"))

    await handling.until(1)


async def test_settling_goes_on_while_the_broker_takes_nothing(stage, rabbitmq):
    """It stops reading from whoever publishes when it is short of memory."""
    _, taking = await stage.taking(HANDLING, prefetch=1, settles=False)
    sender = await stage.open(sends=(COMMANDS,))
    await publish(sender, *sent_to(COMMANDS, "One", "Two", "Three"))
    await taking.until(1)

    rabbitmq.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.00001)")
    try:
        sending = asyncio.create_task(sender.publish(sent_to(COMMANDS, "Four")))
        for number in range(2):
            taking.arrivals[number].settle()
            await taking.until(number + 2)
        assert not sending.done()
    finally:
        rabbitmq.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.4)")

    await sending
    taking.arrivals[2].settle()
    await taking.until(4)
    assert taking.types == ["One", "Two", "Three", "Four"]


async def test_connection_is_made_again_whatever_fails_meanwhile(broker):
    """The library ends who waits for an answer in many ways: an exception without a text is one of them."""
    failures = [Exception(), StopAsyncIteration(), ChannelInvalidStateError("closed"), KeyError("capabilities")]
    told: list[bool] = []
    prepared = 0

    async def prepare(_: Connected) -> None:
        nonlocal prepared
        prepared += 1
        if prepared > 1 and failures:
            raise failures.pop(0)

    line = Line(place_of(broker.url), "a test", prepare, lambda _line, there, _why: told.append(there))
    await line.start()
    async with away(broker):
        await until(lambda: told == [False])
    async with in_time():
        connection = await line.get()

    assert not connection.is_closed
    assert (prepared, failures, told) == (6, [], [False, True])
    await line.close()


async def test_inbox_keeps_what_is_sent_to_it_while_its_process_reconnects(stage, broker, stranger):
    receiver = await stage.open(inbox=INBOX)
    taking = stage.take(receiver, INBOX)
    watching = Watching(receiver)

    async with away(broker):
        await watching.until(there=False)
        await stranger.basic_publish(
            b"{}",
            routing_key=f"{stage.app}.inbox.{INBOX.name}",
            properties=spec.Basic.Properties(headers={"ce-type": "Told"}),
        )

    await taking.until_type("Told")


async def test_what_its_broker_hands_out_too_often_is_put_aside(stage, stranger):
    """The last resort against a message that kills whoever takes it."""
    sender = await stage.open(sends=(COMMANDS,))
    await publish(sender, *sent_to(COMMANDS, "Deadly"))
    tries, buried = 0, []

    async def refuse(message):
        nonlocal tries
        tries += 1
        await stranger.basic_nack(message.delivery_tag, requeue=True)

    async def find(message):
        buried.append(message.header.properties.headers)

    await stranger.basic_consume(f"{stage.app}.commands.stock", refuse)
    await stranger.basic_consume(f"{stage.app}.refused", find, no_ack=True)
    await until(lambda: buried)

    assert tries == DELIVERY_LIMIT + 1
    assert (buried[0]["ce-type"], buried[0]["x-first-death-reason"]) == ("Deadly", "delivery_limit")


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_"])
async def test_what_another_client_sends_is_read(stage, stranger, prefix):
    _, taking = await stage.taking(HANDLING)

    await stranger.basic_publish(
        b"<a/>",
        exchange=f"{stage.app}.commands",
        routing_key="stock",
        properties=spec.Basic.Properties(
            content_type="text/xml",
            headers={
                f"{prefix}type": "Count",
                f"{prefix}partitionkey": "A",
                f"{prefix}number": 7,
                f"{prefix}flag": True,
                f"{prefix}raw": bytearray(b"\xff\x00"),
                f"{prefix}time": datetime(2024, 2, 29, tzinfo=UTC),
                "other": "left out",
            },
        ),
    )

    (arrival,) = await taking.until(1)
    assert arrival.parcel == Parcel(
        {
            "type": "Count",
            "partitionkey": "A",
            "number": "7",
            "flag": "true",
            "raw": "\\xff\x00",
            "time": "2024-02-29T00:00:00Z",
            "datacontenttype": "text/xml",
        },
        b"<a/>",
        "A",
    )


async def test_message_without_any_header_arrives_to_be_refused(stage, stranger, broker):
    _, taking = await stage.taking(HANDLING, settles=False)

    await stranger.basic_publish(b"hello", exchange=f"{stage.app}.commands", routing_key="stock")
    (arrival,) = await taking.until(1)
    arrival.refuse("it has no type")

    assert arrival.parcel == Parcel({}, b"hello")
    async with asyncio.timeout(PATIENCE):
        while not (refused := await broker.refused(stage.app)):  # noqa: ASYNC110 (the broker tells nobody)
            await asyncio.sleep(0.02)
    assert refused == [(Parcel({}, b"hello"), "it has no type")]


async def test_people_see_what_travels_in_their_own_tools(stage, stranger):
    sender = await stage.open(sends=(COMMANDS,))
    sent = parcel("Count", "A", correlationid="c-1")

    await publish(sender, (COMMANDS, sent))

    came = asyncio.get_running_loop().create_future()

    async def see(message):
        came.set_result(message.header.properties)

    await stranger.basic_consume(f"{stage.app}.commands.stock", see)
    seen = await came
    assert (seen.message_id, seen.correlation_id, seen.message_type) == (sent.attributes["id"], "c-1", "Count")
    assert (seen.content_type, seen.delivery_mode) == ("application/json", 2)
    assert seen.timestamp == datetime(2024, 2, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (parcel("Large", headers="h" * 130_000), "attributes"),
        (parcel("Large", headers="\u00fc" * 65_000), "attributes"),
        (parcel("T" * 256), "type"),
        (Parcel({"n" * 126: "value"}, b""), "name of an attribute"),
        (parcel("Surrogate", subject="\ud800"), "surrogate"),
    ],
    ids=["attributes", "bytes", "type", "name", "surrogate"],
)
async def test_parcel_that_the_protocol_cannot_carry_is_refused_and_the_next_is_not(stage, wrong, why):
    _, taking = await stage.taking(HANDLING)
    sender = await stage.open(sends=(COMMANDS, EVENTS))
    to = EVENTS if why == "type" else COMMANDS

    with pytest.raises(ParcelRefusedError, match=why) as refused:
        await sender.publish([*sent_to(COMMANDS, "One"), (to, wrong), *sent_to(COMMANDS, "Behind")])
    await publish(sender, *sent_to(COMMANDS, "Two"))

    await taking.until_type("Two")
    assert refused.value.index == 1
    assert taking.types == ["One", "Two"]


async def test_broker_that_takes_less_is_learnt_of(stage, rabbitmq):
    _, taking = await stage.taking(HANDLING)
    sender = await stage.open(sends=(COMMANDS,))
    rabbitmq.evaluate("application:set_env(rabbit, max_message_size, 100000)")
    try:
        fresh = await stage.open(sends=(COMMANDS,))
        sent = [*sent_to(COMMANDS, "One"), (COMMANDS, parcel("Large", data=b"x" * 100_001))]
        with pytest.raises(ParcelRefusedError) as refused:
            await publish(fresh, *sent)
    finally:
        rabbitmq.evaluate("application:set_env(rabbit, max_message_size, 134217728)")
    await publish(sender, *sent_to(COMMANDS, "Last"))

    await taking.until_type("Last")
    assert (refused.value.index, fresh.largest) == (1, 100_000)
    assert set(taking.types) == {"One", "Last"}


async def test_virtual_host_that_is_not_there_is_named(rabbitmq):
    transport = make_transport(f"rabbitmq://guest:guest@127.0.0.1:{rabbitmq.port}/nowhere")

    with pytest.raises(TransportUnavailableError, match="nowhere"):
        await transport.open(NEEDED)


async def test_something_else_at_the_port_is_told():
    async def greet(_, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    transport = make_transport(f"rabbitmq://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    with pytest.raises(TransportUnavailableError):
        await transport.open(NEEDED)

    server.close()
