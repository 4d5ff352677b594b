"""What only the transport over Kafka does, on a real broker: refusals, older group protocols, records of strangers."""

import asyncio
import logging
import threading

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from microlith.testing.transport_contract.stage import publish
from microlith.transports import (
    Inbox,
    Parcel,
    ParcelRefusedError,
    Subscribing,
    Topic,
    Topology,
    TransportUnavailableError,
    make_transport,
)
from microlith.transports.kafka import sending
from microlith.transports.kafka.binding import to_parcel
from tests.eventually import eventually
from tests.servers import kafka as kafka_server

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]

COMMANDS = Topic("command", "stock")
HANDLING = Subscribing(COMMANDS, "stock")


def parcel(name, *, data=b"{}", key="A"):
    return Parcel({"specversion": "1.0", "id": name, "source": "/test", "type": "Count"}, data, key)


def sent(*parcels):
    return [(COMMANDS, one) for one in parcels]


@pytest.fixture
async def opened(kafka, kafka_prefix):
    """Open transports of one application; close them at the end."""
    transports = []

    async def open_one(topology, options="partitions=2&inbox_partitions=1", url=kafka.url):
        transport = make_transport(f"{url}?{options}")
        transports.append(transport)
        await transport.open(Topology(kafka_prefix.rstrip("."), *topology))
        return transport

    yield open_one
    for transport in transports:
        await transport.close()


async def taken(transport, count, wanted=HANDLING):
    """Take and settle so many."""
    came = []
    async with asyncio.timeout(30):
        async for arrival in transport.subscribe(wanted, prefetch=50):
            came.append(arrival)
            arrival.settle()
            if len(came) == count:
                return came
    raise AssertionError("the iteration ended")


async def make_narrow(kafka, topic, limit, more):
    """Let a topic take no records over a limit, and return once it takes none that are somewhat larger."""
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    changed = admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])])
    for done in changed.values():
        await asyncio.wrap_future(done)
    await eventually(lambda: is_refused(kafka, topic, more), seconds=30)  # it answers before it does so


def is_refused(kafka, topic, size):
    refused = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 2 * size})
    producer.produce(topic, b"x" * size, partition=0, on_delivery=lambda error, _: refused.append(error is not None))
    producer.flush(20)
    return refused == [True]


def stored(kafka, topic, partitions=2):
    """The ids that lie in a topic, partition by partition, up to the end."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": f"{topic}.look"})
    ids = []
    for number in range(partitions):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
        consumer.assign([TopicPartition(topic, number, 0)])
        while end and (message := consumer.poll(30)) is not None:
            if message.headers():  # what it was tried with has none
                ids.append(to_parcel(message).attributes["id"])
            if message.offset() == end - 1:
                break
    consumer.close()
    return ids


class Narrow:
    """A batch in several requests, with one in the middle that the broker does not take any more."""

    LIMIT = 1_030_000
    MORE = 1_045_000
    BEFORE = tuple(f"before-{number}" for number in range(60))
    BEHIND = tuple(f"behind-{number}" for number in range(60))

    def __init__(self):
        filler = b"x" * 40_000
        self.batch = sent(
            *(parcel(name, data=filler) for name in self.BEFORE),
            parcel("too large", data=b"x" * self.MORE),
            *(parcel(name, data=filler) for name in self.BEHIND),
        )


async def narrow_sender(kafka, kafka_prefix, opened):
    sender = await opened([(COMMANDS,)])
    topic = f"{kafka_prefix}commands.stock"
    await make_narrow(kafka, topic, Narrow.LIMIT, Narrow.MORE)
    return sender, topic


async def test_parcel_that_the_broker_refuses_is_told_from_those_that_shared_its_request(kafka, kafka_prefix, opened):
    sender, topic = await narrow_sender(kafka, kafka_prefix, opened)
    narrow = Narrow()

    with pytest.raises(ParcelRefusedError) as refused:
        await publish(sender, *narrow.batch)

    assert refused.value.index == len(Narrow.BEFORE)
    first = list(dict.fromkeys(await asyncio.to_thread(stored, kafka, topic)))
    assert first[: len(Narrow.BEFORE)] == list(Narrow.BEFORE)
    await sender.publish(sent(parcel("later")))
    assert "later" in await asyncio.to_thread(stored, kafka, topic)


async def test_nothing_is_taken_that_lies_behind_a_record_that_failed(kafka, kafka_prefix, opened):
    sender, topic = await narrow_sender(kafka, kafka_prefix, opened)

    with pytest.raises(TransportUnavailableError):
        await sender.publish(Narrow().batch)

    assert not set(Narrow.BEHIND) & set(await asyncio.to_thread(stored, kafka, topic))


async def test_the_same_is_caught_without_the_guarantee(kafka, kafka_prefix, opened, monkeypatch):
    """Planted: a producer that goes on behind a record that failed."""
    monkeypatch.setattr(sending, "_SETTINGS", {**sending._SETTINGS, "enable.gapless.guarantee": False})
    sender, topic = await narrow_sender(kafka, kafka_prefix, opened)

    with pytest.raises((TransportUnavailableError, ParcelRefusedError)):
        await sender.publish(Narrow().batch)

    assert set(Narrow.BEHIND) & set(await asyncio.to_thread(stored, kafka, topic))


async def test_lone_parcel_is_taken_within_some_milliseconds(opened):
    sender = await opened([(COMMANDS,)])
    await sender.publish(sent(parcel("first")))
    loop, took = asyncio.get_running_loop(), []

    for number in range(100):
        began = loop.time()
        await sender.publish(sent(parcel(str(number))))
        took.append(loop.time() - began)

    assert sorted(took)[20] < 0.02  # 2 ms on an idle machine


async def test_loop_is_free_while_much_is_sent_and_taken(opened):
    sender, taker = await opened([(COMMANDS,)]), await opened([(), (HANDLING,)])
    lags, loop = [], asyncio.get_running_loop()

    async def measure():
        while True:
            began = loop.time()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - began - 0.001)

    measuring = asyncio.create_task(measure())
    taking = asyncio.create_task(taken(taker, 5_000))
    for _ in range(50):
        await sender.publish(sent(*(parcel(str(number), key=str(number)) for number in range(100))))
    await taking
    measuring.cancel()

    assert sorted(lags)[len(lags) // 2] < 0.02  # the median: a busy machine has lags of its own


async def test_broker_without_the_newer_group_protocol_is_spoken_to_in_the_older_one(
    kafka_prefix, opened, monkeypatch, caplog
):
    monkeypatch.setitem(kafka_server._SETTINGS, "group.coordinator.rebalance.protocols", "classic")
    with kafka_server.Kafka() as old:
        taker = await opened([(), (HANDLING,)], url=old.url)
        sender = await opened([(COMMANDS,)], url=old.url)
        await sender.publish(sent(parcel("one")))

        with caplog.at_level(logging.WARNING, "microlith.transports.kafka"):
            came = await taken(taker, 1)
        await taker.close()
        await sender.close()

    assert came[0].parcel.attributes["id"] == "one"
    assert [record.message for record in caplog.records if "KIP-848" in record.message]


async def test_group_protocol_of_the_url_is_never_changed(kafka_prefix, opened, monkeypatch, caplog):
    monkeypatch.setitem(kafka_server._SETTINGS, "group.coordinator.rebalance.protocols", "classic")
    with kafka_server.Kafka() as old:
        taker = await opened([(), (HANDLING,)], "partitions=1&group_protocol=consumer", url=old.url)

        with caplog.at_level(logging.WARNING, "microlith.transports.kafka"):
            taking = asyncio.create_task(taken(taker, 1))
            await eventually(lambda: "is read anew" in caplog.text, 30)
        taking.cancel()
        await asyncio.wait([taking])
        await taker.close()

    assert "classic one is used" not in caplog.text


async def test_process_that_leaves_a_classic_group_leaves_the_rest_to_the_next(opened):
    options = "partitions=2&inbox_partitions=1&group_protocol=classic"
    sender = await opened([(COMMANDS,)])
    await sender.publish(sent(*(parcel(str(number), key=str(number)) for number in range(20))))

    first = await opened([(), (HANDLING,)], options)
    some = await taken(first, 8)
    await first.close()
    rest = await taken(await opened([(), (HANDLING,)], options), 12)

    ids = [arrival.parcel.attributes["id"] for arrival in (*some, *rest)]
    assert sorted(ids, key=int) == [str(number) for number in range(20)]


async def test_record_of_a_stranger_is_handed_out_as_it_is_and_kept_when_it_is_refused(kafka, kafka_prefix, opened):
    taker = await opened([(), (HANDLING,)])
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(f"{kafka_prefix}commands.stock", b"\xff\x00", b"k\xff", headers=[("x", b"1"), ("ce_id", b"\xfe")])
    assert producer.flush(30) == 0

    async with asyncio.timeout(30):
        async for arrival in taker.subscribe(HANDLING, prefetch=1):
            arrival.refuse("no type")
            break
    await taker.close()

    assert arrival.parcel == Parcel({"id": "\\xfe"}, b"\xff\x00", "k\\xff")
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": f"{kafka_prefix}look"})
    consumer.assign([TopicPartition(f"{kafka_prefix}refused", 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert (message.key(), message.value()) == (b"k\xff", b"\xff\x00")
    assert message.headers() == [
        ("x", b"1"),
        ("ce_id", b"\xfe"),
        ("microlith_reason", b"no type"),
        ("microlith_origin", f"{kafka_prefix}commands.stock/{arrival.message.partition()}/0".encode()),
    ]


async def test_stranger_reaches_an_inbox_by_its_name_as_key(kafka, kafka_prefix, opened):
    inbox = Inbox("asker-7")
    asker = await opened([(), (), inbox], "partitions=1&inbox_partitions=8")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})

    producer.produce(f"{kafka_prefix}inbox", b"{}", inbox.name, headers=[("ce_type", b"Answer")])
    assert producer.flush(30) == 0

    async with asyncio.timeout(30):
        async for arrival in asker.listen(inbox):
            assert arrival.parcel.attributes == {"type": "Answer"}
            break


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("partitions=3", "it has 2 partitions, at least 3 are needed"),
        ("replication=2", "it has 1 copy, 2 are needed"),
    ],
)
async def test_topics_that_are_smaller_than_the_url_says_are_refused(kafka_prefix, opened, options, named):
    await opened([(COMMANDS,)])

    with pytest.raises(Exception, match=named):
        await opened([(COMMANDS,)], options)


async def test_nothing_of_the_library_is_left_after_the_close(opened):
    before = set(threading.enumerate())
    transport = await opened([(COMMANDS,), (HANDLING,), Inbox("a")])
    listening = asyncio.create_task(anext(transport.listen(Inbox("a"))))
    await transport.publish(sent(parcel("one")))
    await taken(transport, 1)

    await transport.close()

    await asyncio.wait([listening])
    assert set(threading.enumerate()) <= before
    assert isinstance(listening.exception(), StopAsyncIteration)
