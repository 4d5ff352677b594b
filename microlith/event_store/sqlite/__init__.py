"""The event store in one SQLite file: an owner, a thread that writes, connections that read.

What it shares with stores in other databases is in `microlith.event_store.database`.
"""

from microlith.event_store.sqlite.store import SQLiteEventStore

__all__ = ["SQLiteEventStore"]
