"""Every transport against the one contract."""

import pytest

from microlith.testing.memory_broker import MemoryBroker
from microlith.testing.transport_contract import Traits, TransportContract
from microlith.testing.transport_contract.closing import ClosingContract
from microlith.testing.transport_contract.keeping import KeepingContract
from microlith.testing.transport_contract.losing import LosingContract
from microlith.testing.transport_contract.ordering import OrderingContract
from microlith.testing.transport_contract.planning import PlanningContract
from microlith.testing.transport_contract.sharing import SharingContract
from microlith.transports import Parcel, Topology, Transport
from tests.contracts.at_rabbitmq import BrokerAtRabbitMQ
from tests.servers.proxy import Proxy


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


@pytest.mark.rabbitmq
@pytest.mark.timeout(180)
class TestRabbitMQTransport(TransportContract):
    traits = Traits(shares=False, can_differ=True, holds=False)

    @pytest.fixture
    def broker(self, rabbitmq, rabbitmq_url):
        with Proxy(rabbitmq.port) as proxy:
            yield BrokerAtRabbitMQ(rabbitmq_url, proxy)


@pytest.mark.rabbitmq
@pytest.mark.timeout(180)
class TestRabbitMQWithSharedCommands(
    SharingContract, KeepingContract, OrderingContract, LosingContract, PlanningContract, ClosingContract
):
    """All of the contract that has to do with queues of commands; the rest is the same without `shared=yes`."""

    traits = Traits(shares=True, can_differ=True, holds=False, keyed=False)
    stage = TransportContract.stage

    @pytest.fixture
    def broker(self, rabbitmq, rabbitmq_url):
        with Proxy(rabbitmq.port) as proxy:
            yield BrokerAtRabbitMQ(rabbitmq_url, proxy, "&shared=yes")
