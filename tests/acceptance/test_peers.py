"""A program that is none of ours, with the broker's plain client and the CloudEvents project's own library.

It sends a command that is handled, and reads the events that come of it.
"""

import asyncio
from contextlib import asynccontextmanager

import aio_pika
import pytest
from cloudevents.core.bindings import rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

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


@pytest.mark.rabbitmq
async def test_stranger_sends_a_command_and_reads_the_events_over_rabbitmq(rabbitmq_url):
    async with agency(rabbitmq_url), RabbitMQPeer.connected(rabbitmq_url) as peer:
        await peer.send(COMMAND)

        async with asyncio.timeout(20):
            booked, paid = await peer.read(), await peer.read()

    assert (booked.get_type(), booked.get_data()) == ("BookedEvent", {"trip": "rome", "price": 7})
    assert (paid.get_type(), paid.get_data()) == ("PaidEvent", {"trip": "rome"})
    assert {event.get_extension("correlationid") for event in (booked, paid)} == {"stranger-1"}
    assert booked.get_extension("causationid") == "stranger-1"
    assert booked.get_source() == "/agency/booking"
    assert booked.get_time() is not None
