"""A RabbitMQ as the contract of transports reaches it: through a proxy that cuts connections and lets nobody in."""

import aiormq

from microlith.transports import Parcel, Topology, Transport, make_transport
from microlith.transports.rabbitmq.packing import REASON, unpack
from tests.servers.faults import Fault
from tests.servers.proxy import Proxy


class BrokerAtRabbitMQ:
    """A virtual host of a RabbitMQ.

    Args:
        url: Where it is.
        proxy: What every transport goes through.
        options: What the url says besides.
    """

    def __init__(self, url: str, proxy: Proxy, options: str = "") -> None:
        self._url = url
        self._proxy = proxy
        self._options = options

    @property
    def amqp(self) -> str:
        """Its url for other clients, past the proxy."""
        return self._url.replace("rabbitmq", "amqp", 1)

    @property
    def url(self) -> str:
        """Its url through the proxy."""
        return self._proxy.through(f"{self._url}?heartbeat=2{self._options}")

    def connect(self) -> Transport:
        return make_transport(self.url)

    async def go_away(self) -> None:
        self._proxy.refuse()
        self._proxy.strike(Fault.RESET)

    async def come_back(self) -> None:
        self._proxy.accept()

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
