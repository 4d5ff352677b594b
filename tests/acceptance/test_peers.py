"""A program that is none of ours, with the broker's plain client and the CloudEvents project's own library.

It sends a command that is handled, and reads the events that come of it.
"""

import asyncio
from contextlib import asynccontextmanager, contextmanager

import aio_pika
import pytest
from cloudevents.core.bindings import kafka, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Consumer, Producer

from tests.unit.transports.agency import agency

COMMAND = CloudEvent({"type": "BookCommand", "source": "/a/stranger", "id": "stranger-1"}, {"trip": "rome", "price": 7})


class RabbitMQPeer:
    """Speaks AMQP by aio-pika."""

    def __init__(self, channel, queue):
        self._channel = channel
        self._queue = queue

    @classmethod
    @asynccontextmanager
    async def connected(cls, url):
        async with await aio_pika.connect(url.replace("rabbitmq:", "amqp:", 1)) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind("agency.events", "#")
            yield cls(channel, queue)

    async def send(self, event):
        packed = rabbitmq.to_binary(event, JSONFormat())
        message = aio_pika.Message(packed.body, headers=dict(packed.headers), content_type=packed.content_type)
        exchange = await self._channel.get_exchange("agency.commands")
        await exchange.publish(message, "booking.book")

    async def read(self):
        message = await self._queue.get(timeout=5, fail=False)
        while message is None:
            await asyncio.sleep(0.01)
            message = await self._queue.get(timeout=5, fail=False)
        await message.ack()
        packed = rabbitmq.RabbitMQMessage(dict(message.headers), message.content_type, message.body)
        return rabbitmq.from_binary(packed, JSONFormat())


class KafkaPeer:
    """Speaks Kafka's protocol by confluent-kafka."""

    def __init__(self, app, producer, consumer):
        self._app = app
        self._producer = producer
        self._consumer = consumer

    @classmethod
    @contextmanager
    def connected(cls, bootstrap, app):
        producer = Producer({"bootstrap.servers": bootstrap})
        consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": f"{app}.stranger", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([f"{app}.events.booking", f"{app}.events.paying"])
        try:
            yield cls(app, producer, consumer)
        finally:
            consumer.close()
            producer.flush(10)

    async def send(self, event):
        packed = kafka.to_binary(event, JSONFormat())
        self._producer.produce(
            f"{self._app}.commands.booking.book", packed.value, packed.key, headers=list(packed.headers.items())
        )
        assert await asyncio.to_thread(self._producer.flush, 20) == 0

    async def read(self):
        while (message := await asyncio.to_thread(self._consumer.poll, 0.2)) is None or message.error() is not None:
            pass
        packed = kafka.KafkaMessage(dict(message.headers()), message.key(), message.value())
        return kafka.from_binary(packed, JSONFormat())


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("rabbitmq", "kafka")])
async def peer(request):
    """Start the agency over a broker, and a stranger at the same broker."""
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbitmq_url")
        async with agency(url), RabbitMQPeer.connected(url) as stranger:
            yield stranger
    else:
        name = request.getfixturevalue("kafka_prefix").removesuffix(".")
        broker = request.getfixturevalue("kafka")
        async with agency(broker.url, name=name):
            with KafkaPeer.connected(broker.bootstrap, name) as stranger:
                yield stranger


async def test_stranger_sends_a_command_and_reads_the_events(peer):
    await peer.send(COMMAND)

    async with asyncio.timeout(40):
        events = {event.get_type(): event for event in (await peer.read(), await peer.read())}

    booked, paid = events["BookedEvent"], events["PaidEvent"]
    assert booked.get_data() == {"trip": "rome", "price": 7}
    assert paid.get_data() == {"trip": "rome"}
    assert {event.get_extension("correlationid") for event in events.values()} == {"stranger-1"}
    assert booked.get_extension("causationid") == "stranger-1"
    assert booked.get_source().endswith("/booking")
    assert booked.get_time() is not None
