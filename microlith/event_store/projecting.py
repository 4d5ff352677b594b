"""Projections as a store sees them: what it asks of them, and what it tells of them.

Knows no tables of any database and no application.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.tables import RowWriter, TableSpec

logger = logging.getLogger("microlith.projections")


class Projecting(Protocol):
    """A projection as a store sees it."""

    @property
    def name(self) -> str:
        """Full name, such as "auth.accounts"."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the rows or the events it takes change; a store then rebuilds it at open."""
        ...

    @property
    def inline(self) -> bool:
        """Whether it changes in the commit of the events; otherwise it follows them, see `EventStore.advance`."""
        ...

    @property
    def tables(self) -> Sequence[TableSpec]:
        """Its tables; no other projection writes them. None for one that keeps its rows elsewhere."""
        ...

    def takes(self, event: RecordedEvent) -> bool:
        """Tell, without decoding, whether `apply` wants this event."""
        ...

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Fold one event into the rows. In position order, on any thread; may raise.

        Called again for the same event after its transaction was rolled back, so it changes the rows and nothing else.
        """
        ...


class Reached(NamedTuple):
    """How far a projection has come.

    Attributes:
        checkpoint: Last global position applied; -1 for none.
        error: Why it stopped at the event after that; None while it runs.
    """

    checkpoint: int
    error: str | None = None


class ProjectionState:
    """Where a projection stands.

    Attributes:
        name: Full name.
        checkpoint: Last global position applied; -1 for none.
        error: Why it stopped at the event after its checkpoint; None while it runs.
        rows: How many rows its tables hold.
    """

    __slots__ = ("checkpoint", "error", "name", "rows")

    def __init__(self, name: str, checkpoint: int, error: str | None, rows: int) -> None:
        self.name = name
        self.checkpoint = checkpoint
        self.error = error
        self.rows = rows


class Rebuilt:
    """Outcome of a rebuild: events read, seconds taken, and a digest of the rows before and after."""

    __slots__ = ("after", "before", "events", "name", "seconds")

    def __init__(self, name: str, events: int, seconds: float, before: str, after: str) -> None:
        self.name = name
        self.events = events
        self.seconds = seconds
        self.before = before
        self.after = after


def tell_stop(name: str, event: RecordedEvent, error: str) -> None:
    """Write into the log of the process which projection stopped, at which event, and why."""
    logger.error(
        "Projection %s stopped before position %d, %s: %s", name, event.position, event.type, " ".join(error.split())
    )
