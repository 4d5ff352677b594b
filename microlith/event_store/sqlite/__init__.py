"""The event store in one SQLite file: an owner, a thread that writes, connections that read.

`store` is what the application sees; behind it a write goes `writer` → `batch` → `session`, a read `reading` → `codec`.
"""

from microlith.event_store.sqlite.store import SQLiteEventStore

__all__ = ["SQLiteEventStore"]
