"""Every event store against the one contract."""

import pytest

from microlith.event_store import open_event_store
from microlith.event_store.protocol import EventStore
from microlith.testing.event_store_contract import EventStoreContract

STORES = ("memory:", "sqlite:events.db", "sqlite:events.db?durability=fast")


class TestEventStore(EventStoreContract):
    @pytest.fixture(params=STORES)
    def make_store(self, request, tmp_path):
        opened: list[EventStore] = []

        def make(types):
            if not opened or opened[0].durability != "memory":
                opened[:] = [open_event_store(request.param, types, tmp_path)]
            return opened[0]

        return make


@pytest.mark.postgres
class TestPostgresEventStore(EventStoreContract):
    """The durable one; that the other differs in one setting of its connections is a test of its own."""

    @pytest.fixture
    def make_store(self, postgres_schema, tmp_path):
        return lambda types: open_event_store(postgres_schema, types, tmp_path)
