"""The transport over Kafka against the contract of transports, on a real broker."""

import asyncio

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from microlith.testing.transport_contract import Traits, TransportContract
from microlith.transports import Parcel, Topology, Transport, make_transport
from microlith.transports.kafka.binding import reason_of, to_parcel
from microlith.transports.kafka.names import refused_topic, topic_name
from tests.servers.faults import Fault
from tests.servers.kafka import Kafka
from tests.servers.ports import LOOPBACK
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]


class BrokerAtKafka:
    """A Kafka as the contract reaches it: through a proxy that a test can shut."""

    def __init__(self, kafka: Kafka, proxy: Proxy, options: str) -> None:
        self._kafka = kafka
        self._proxy = proxy
        self._options = options

    def connect(self) -> Transport:
        return make_transport(f"kafka://{LOOPBACK}:{self._proxy.port}?{self._options}")

    async def go_away(self) -> None:
        self._proxy.refuse()
        self._proxy.strike(Fault.RESET)

    async def come_back(self) -> None:
        self._proxy.accept()

    async def refused(self, app: str) -> list[tuple[Parcel, str]]:
        return await asyncio.to_thread(self._read, refused_topic(app))

    async def make_differ(self, topology: Topology) -> None:
        name = topic_name(topology.app, topology.takes[0].topic)
        admin = AdminClient({"bootstrap.servers": self._kafka.bootstrap})  # its answers are lost without it
        made = admin.create_topics([NewTopic(name, 1, config={"cleanup.policy": "compact"})])
        await asyncio.wrap_future(made[name])

    def _read(self, topic: str) -> list[tuple[Parcel, str]]:
        """Read a topic of one partition from its beginning to its end."""
        found = []
        consumer = Consumer(
            {"bootstrap.servers": self._kafka.bootstrap, "group.id": topic, "enable.partition.eof": True}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        while True:
            message = consumer.poll(30)
            assert message is not None
            error = message.error()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF
                consumer.close()
                return found
            found.append((to_parcel(message), reason_of(message)))


@pytest.fixture(scope="module")  # others have a proxy on that port, too
def proxy(kafka):
    with Proxy(kafka.proxied_port, port=kafka.proxy_port) as proxy:
        yield proxy


class TestKafkaTransport(TransportContract):
    traits = Traits(shares=True, can_differ=True, holds=True)

    @pytest.fixture
    def broker(self, kafka, proxy):
        kafka.start()
        proxy.accept()
        return BrokerAtKafka(kafka, proxy, "partitions=3&inbox_partitions=2")
