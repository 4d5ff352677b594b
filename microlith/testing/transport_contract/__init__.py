"""The contract of transports, as tests that every transport passes.

    class TestMyTransport(TransportContract):
        traits = Traits(shares=True, can_differ=False, holds=False)

        @pytest.fixture
        async def broker(self):
            yield MyBroker(...)

`broker` is what tests reach the broker by, see `BrokerUnderTest`; `traits` says in which of the ways that are left to a
transport it behaves. pytest must run coroutines (pytest-asyncio in its `auto` mode).

Tests what any transport must do; what only one can do, such as noticing a connection that is half open, has tests of its own.
"""

from collections.abc import AsyncIterator

import pytest

from microlith.testing.transport_contract.closing import ClosingContract
from microlith.testing.transport_contract.keeping import KeepingContract
from microlith.testing.transport_contract.listening import ListeningContract
from microlith.testing.transport_contract.losing import LosingContract
from microlith.testing.transport_contract.ordering import OrderingContract
from microlith.testing.transport_contract.planning import PlanningContract
from microlith.testing.transport_contract.sending import SendingContract
from microlith.testing.transport_contract.sharing import SharingContract
from microlith.testing.transport_contract.stage import BrokerUnderTest, Stage, Traits

__all__ = ["BrokerUnderTest", "Stage", "Traits", "TransportContract"]


class TransportContract(
    SendingContract,
    SharingContract,
    KeepingContract,
    OrderingContract,
    ListeningContract,
    LosingContract,
    PlanningContract,
    ClosingContract,
):
    """Derive a class whose name begins with Test; give it `traits` and the fixture `broker`."""

    traits: Traits

    @pytest.fixture
    async def stage(self, broker: BrokerUnderTest) -> AsyncIterator[Stage]:
        """Set up an application that the broker has not heard of; close what it has open at the end."""
        stage = Stage(broker)
        yield stage
        await stage.close()
