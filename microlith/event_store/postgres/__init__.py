"""The event store in one schema of a PostgreSQL database: an owner, a thread that writes, connections that read.

What it shares with stores in other databases is in `microlith.event_store.database`. Needs the extra `postgres`.
"""

from microlith.event_store.postgres.place import Place, PlaceError
from microlith.event_store.postgres.store import PostgresEventStore

__all__ = ["Place", "PlaceError", "PostgresEventStore"]
