"""Looking into a schema that no store has open.

For as long as one looks, no other process can own it.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

from microlith.errors import CorruptionError
from microlith.event_store.database.inspecting import Inspection
from microlith.event_store.postgres.connection import judge
from microlith.event_store.postgres.dialect import DIALECT
from microlith.event_store.postgres.opening import is_empty
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.readers import PostgresReaders
from microlith.event_store.snapshot import SnapshotCheck


class PostgresInspection(Inspection):
    """Holds a schema and reads from it. A context manager.

    Attributes:
        is_there: Whether a store has been made there.

    Raises:
        StoreAwayError: The server does not answer.
        StoreLockedError: Another process owns the schema; nothing was touched.
        SchemaError: The schema is something else, or newer.
        CorruptionError: It is damaged where it was read.
    """

    dialect = DIALECT

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._readers = PostgresReaders(place)
        self._held = Ownership.hold(place)
        try:
            self.is_there = not is_empty(self._held, place)
            if self.is_there:
                self._look()
        except psycopg.Error as error:
            self.close()
            raise judge(error, place)[0] from None
        except (LookupError, TypeError, ValueError) as error:
            self.close()
            raise CorruptionError(place.shown, f"{type(error).__name__}: {error}") from None
        except BaseException:
            self.close()
            raise

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        return self._readers.run(text, values)

    def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot; there is none where no store was made."""
        return super().check_snapshots() if self.is_there else SnapshotCheck(0, [])

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._readers.close()
        self._held.close()
