"""Every transport against the one contract."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import aiormq
import pytest

from microlith.testing.memory_broker import MemoryBroker
from microlith.testing.transport_contract import Traits, TransportContract
from microlith.transports import Parcel, Topology, Transport, make_transport
from microlith.transports.rabbitmq.packing import REASON, unpack


class BrokerInMemory:
    """The broker in memory, as the contract reaches it."""

    def __init__(self) -> None:
        self._broker = MemoryBroker()

    def connect(self) -> Transport:
        return self._broker.connect("memory://test")

    async def go_away(self) -> None:
        self._broker.go_away()

    async def come_back(self) -> None:
        self._broker.come_back()

    async def refused(self, _app: str) -> list[tuple[Parcel, str]]:
        return self._broker.refused

    async def make_differ(self, topology: Topology) -> None:
        raise NotImplementedError


class TestMemoryTransport(TransportContract):
    traits = Traits(shares=True, can_differ=False, holds=False)

    @pytest.fixture
    def broker(self):
        return BrokerInMemory()


class Door:
    """Lets connections through to a port of this machine, until it is shut."""

    def __init__(self, inside: int) -> None:
        self.port = 0
        self._inside = inside
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through, on the same port as before."""
        self._server = await asyncio.start_server(self._let_through, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cut all connections, and let nobody in."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", self._inside)
        writers = {writer, inside_writer}
        self._writers |= writers
        await asyncio.gather(self._carry(reader, inside_writer), self._carry(inside_reader, writer))
        self._writers -= writers

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class BrokerAtRabbitMQ:
    """A virtual host of a RabbitMQ, as the contract reaches it: through a door that a test can shut."""

    def __init__(self, url: str, door: Door) -> None:
        self._url = url
        self._door = door

    def connect(self) -> Transport:
        parts = urlsplit(self._url)
        return make_transport(f"{self._url.replace(str(parts.port), str(self._door.port), 1)}?heartbeat=2")

    async def go_away(self) -> None:
        await self._door.shut()

    async def come_back(self) -> None:
        await self._door.open()

    async def refused(self, app: str) -> list[tuple[Parcel, str]]:
        found = []
        async with aiormq.connect(self._url.replace("rabbitmq", "amqp", 1)) as connection:
            channel = await connection.channel()
            while headers := (
                message := await channel.basic_get(f"{app}.refused", no_ack=True)
            ).header.properties.headers:
                found.append((unpack(message.header.properties, message.body), str(headers[REASON])))
        return found

    async def make_differ(self, topology: Topology) -> None:
        async with aiormq.connect(self._url.replace("rabbitmq", "amqp", 1)) as connection:
            channel = await connection.channel()
            await channel.queue_declare(f"{topology.app}.commands.stock", durable=True)


@pytest.mark.rabbitmq
class TestRabbitMQTransport(TransportContract):
    traits = Traits(shares=False, can_differ=True, holds=False)

    @pytest.fixture
    async def broker(self, rabbitmq, rabbitmq_url):
        door = Door(rabbitmq.port)
        await door.open()
        yield BrokerAtRabbitMQ(rabbitmq_url, door)
        await door.shut()
