"""The contract of event stores, as tests that every store passes.

    class TestMyStore(EventStoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda types: MyEventStore(tmp_path / "events", types)

Calling what `make_store` returns twice must give a store on the same place each time. pytest must run
coroutines (pytest-asyncio in its `auto` mode).

Tests what any store must do; what only one can do, such as noticing a flipped bit on a disk, has tests of its own.
"""

from collections.abc import AsyncIterator

import pytest

from microlith.testing.event_store_contract.appending import AppendingContract
from microlith.testing.event_store_contract.arriving import ArrivingContract
from microlith.testing.event_store_contract.burying import BuryingContract
from microlith.testing.event_store_contract.erasing import ErasingContract
from microlith.testing.event_store_contract.following import FollowingContract
from microlith.testing.event_store_contract.parking import ParkingContract
from microlith.testing.event_store_contract.placing import PlacingContract
from microlith.testing.event_store_contract.projecting import ProjectingContract
from microlith.testing.event_store_contract.racing import RacingContract
from microlith.testing.event_store_contract.reading import ReadingContract
from microlith.testing.event_store_contract.restoring import RestoringContract
from microlith.testing.event_store_contract.scheduling import SchedulingContract
from microlith.testing.event_store_contract.settling import SettlingContract
from microlith.testing.event_store_contract.snapshotting import SnapshottingContract
from microlith.testing.event_store_contract.stock import MakeStore, StoreUnderTest

__all__ = ["EventStoreContract", "StoreUnderTest"]


class EventStoreContract(
    AppendingContract,
    ArrivingContract,
    PlacingContract,
    ParkingContract,
    SettlingContract,
    BuryingContract,
    ErasingContract,
    FollowingContract,
    ProjectingContract,
    RacingContract,
    ReadingContract,
    RestoringContract,
    SchedulingContract,
    SnapshottingContract,
):
    """Derive a class whose name begins with Test and give it the fixture `make_store`."""

    @pytest.fixture
    async def event_store(self, make_store: MakeStore) -> AsyncIterator[StoreUnderTest]:
        """Open the store, empty and without projections; close it at the end."""
        store = StoreUnderTest(make_store)
        await store.store.open()
        yield store
        await store.store.close()
