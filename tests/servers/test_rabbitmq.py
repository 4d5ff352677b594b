"""The RabbitMQ of the tests is a real one: it confirms, delivers, and keeps what it confirmed."""

import asyncio
import ipaddress
from collections.abc import Mapping

import aio_pika
import pytest

from tests.servers.faults import Blow, Fault
from tests.servers.processes import listening
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.server import ServerMissingError

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

QUORUM = {"x-queue-type": "quorum"}


def amqp(url: str) -> str:
    return url.replace("rabbitmq:", "amqp:", 1)


async def publish(
    url: str, queue: str, bodies: list[str], *, durable: bool, arguments: Mapping[str, str] | None = None
) -> None:
    """Publish persistent messages and have every one confirmed."""
    connection = await aio_pika.connect(amqp(url))
    async with connection, connection.channel(on_return_raises=True) as channel:
        await channel.declare_queue(queue, durable=durable, arguments=dict(arguments or {}))
        messages = [
            aio_pika.Message(body.encode(), headers={"number": number}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            for number, body in enumerate(bodies)
        ]
        await asyncio.gather(*(channel.default_exchange.publish(message, queue) for message in messages))


async def consume(url: str, queue: str, count: int) -> list[tuple[str, object]]:
    """Take and acknowledge this many messages; each as its body and the header that it was given."""
    connection = await aio_pika.connect(amqp(url))
    taken: list[tuple[str, object]] = []
    async with connection, connection.channel() as channel:
        await channel.set_qos(prefetch_count=50)
        source = await channel.get_queue(queue)
        async with asyncio.timeout(30), source.iterator() as messages:
            async for message in messages:
                taken.append((message.body.decode(), message.headers["number"]))
                await message.ack()
                if len(taken) == count:
                    break
    return taken


async def test_published_messages_arrive_in_order_with_their_headers(rabbitmq_url):
    await publish(rabbitmq_url, "letters", ["a", "b", "c"], durable=True, arguments=QUORUM)

    assert await consume(rabbitmq_url, "letters", 3) == [("a", 0), ("b", 1), ("c", 2)]


async def test_unroutable_message_is_returned(rabbitmq_url):
    connection = await aio_pika.connect(amqp(rabbitmq_url))
    async with connection, connection.channel(on_return_raises=True) as channel:
        with pytest.raises(aio_pika.exceptions.PublishError):
            await channel.default_exchange.publish(aio_pika.Message(b""), "nowhere")


async def test_sigkill_takes_no_confirmed_message(rabbitmq, rabbitmq_url):
    bodies = [str(number) for number in range(200)]
    await publish(rabbitmq_url, "quorum", bodies, durable=True, arguments=QUORUM)
    await publish(rabbitmq_url, "classic", bodies, durable=True)
    await publish(rabbitmq_url, "fleeting", bodies, durable=False)
    await asyncio.to_thread(rabbitmq.write_declarations)

    await asyncio.to_thread(rabbitmq.kill)
    await asyncio.to_thread(rabbitmq.start)

    assert [body for body, _ in await consume(rabbitmq_url, "quorum", 200)] == bodies
    assert [body for body, _ in await consume(rabbitmq_url, "classic", 200)] == bodies
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):  # else the kill would prove nothing of the others
        await consume(rabbitmq_url, "fleeting", 200)


async def test_proxy_stands_between_it_and_its_clients(rabbitmq, rabbitmq_url):
    with Proxy(rabbitmq.port) as proxy:
        connection = await aio_pika.connect(amqp(proxy.through(rabbitmq_url)))
        channel = await connection.channel()
        proxy.strike(Blow(Fault.TRICKLE, seconds=60))
        queue = await channel.declare_queue("letters", exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"slow"), queue.name)
        message = await queue.get(timeout=30)
        assert message is not None
        assert message.body == b"slow"

        proxy.strike(Fault.RESET)

        with pytest.raises(aio_pika.exceptions.AMQPError):
            await channel.declare_queue("others", exclusive=True)
        await connection.close()


async def test_stop_says_goodbye_to_its_clients(rabbitmq, rabbitmq_url):
    connection = await aio_pika.connect(amqp(rabbitmq_url))
    reasons: asyncio.Queue[BaseException | None] = asyncio.Queue()
    connection.close_callbacks.add(lambda _, reason: reasons.put_nowait(reason))

    await asyncio.to_thread(rabbitmq.restart)

    reason = await asyncio.wait_for(reasons.get(), 10)
    assert "CONNECTION_FORCED" in str(reason)
    await connection.close()


def test_virtual_host_goes_with_its_test(rabbitmq):
    url = rabbitmq.create_vhost("test/one ü")

    assert url.endswith("/test%2Fone%20%C3%BC")
    rabbitmq.delete_vhost("test/one ü")
    assert [vhost["name"] for vhost in rabbitmq.manage("GET", "vhosts")] == ["/"]


@pytest.mark.usefixtures("rabbitmq")
def test_node_that_is_away_writes_nothing():
    with pytest.raises(OSError, match="did not evaluate 'mnesia:sync_log"):
        RabbitMQ().write_declarations()


def test_refusal_of_the_management_api_says_why(rabbitmq):
    with pytest.raises(OSError, match=r"GET nonsense: 404"):
        rabbitmq.manage("GET", "nonsense")


def test_only_loopback_reaches_it(rabbitmq):
    addresses = listening(rabbitmq.pids)

    assert {rabbitmq.port, rabbitmq.management_port} <= {port for _, port in addresses}
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in addresses), addresses


def test_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.servers.rabbitmq.LAUNCHER", tmp_path / "rabbitmq-server")

    with pytest.raises(ServerMissingError, match="apt-get install rabbitmq-server"):
        RabbitMQ()
