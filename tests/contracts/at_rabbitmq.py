"""A RabbitMQ as the contract of transports reaches it: through a door that a test can shut."""

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

import aiormq

from microlith.transports import Parcel, Topology, Transport, make_transport
from microlith.transports.rabbitmq.packing import REASON, unpack


class Door:
    """Lets connections through to a port of this machine, until it is shut; those with TLS, if it has a certificate."""

    def __init__(self, inside: int, security: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._security = security
        self._inside = inside
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through, on the same port as before."""
        self._server = await asyncio.start_server(self._let_through, "127.0.0.1", self.port, ssl=self._security)
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
    """A virtual host of a RabbitMQ.

    Attributes:
        door: What every transport goes through.
    """

    def __init__(self, url: str, door: Door) -> None:
        self._url = url
        self.door = door

    @property
    def amqp(self) -> str:
        """Its url for other clients, past the door."""
        return self._url.replace("rabbitmq", "amqp", 1)

    @property
    def url(self) -> str:
        """Its url through the door."""
        parts = urlsplit(self._url)
        return f"{self._url.replace(str(parts.port), str(self.door.port), 1)}?heartbeat=2"

    def connect(self) -> Transport:
        return make_transport(self.url)

    async def go_away(self) -> None:
        await self.door.shut()

    async def come_back(self) -> None:
        await self.door.open()

    async def refused(self, app: str) -> list[tuple[Parcel, str]]:
        found = []
        async with aiormq.connect(self.amqp) as connection:
            channel = await connection.channel()
            while headers := (
                message := await channel.basic_get(f"{app}.refused", no_ack=True)
            ).header.properties.headers:
                found.append((unpack(message.header.properties, message.body), str(headers[REASON])))
        return found

    async def make_differ(self, topology: Topology) -> None:
        async with aiormq.connect(self.amqp) as connection:
            channel = await connection.channel()
            await channel.queue_declare(f"{topology.app}.commands.stock", durable=True)
