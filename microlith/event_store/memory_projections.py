"""Projections over rows in memory: applied inline, built anew beside the live ones.

A projection that raises is stopped at the event before; its rows stay as they were there.

Knows nothing of how events got into the log.
"""

from collections.abc import Sequence

from microlith.errors import HandlerFailedError, UnknownProjectionError, text_of
from microlith.event_store.memory_tables import MemoryRows
from microlith.event_store.protocol import Projecting, ProjectionState, RecordedEvent
from microlith.event_store.tables import digest_of


class MemoryProjection:
    """One projection, its rows and where it stands."""

    __slots__ = ("checkpoint", "error", "projecting", "rows")

    def __init__(self, projecting: Projecting) -> None:
        self.projecting = projecting
        self.rows = MemoryRows(projecting.tables)
        self.checkpoint = -1
        self.error: str | None = None

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events in, up to one that fails."""
        try:
            self.apply_or_raise(events)
        except HandlerFailedError as error:
            self.error = f"{type(error.__cause__).__name__}: {error.__cause__}"

    def apply_or_raise(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events in; on an error the one that failed leaves no trace."""
        takes, fold, rows = self.projecting.takes, self.projecting.apply, self.rows
        for event in events:
            try:
                if takes(event):
                    fold(event, rows)
            except Exception as error:
                rows.take_back()
                raise HandlerFailedError(self.projecting.name, event.type, text_of(error)) from error
            rows.keep()
            self.checkpoint = event.position

    def digest(self) -> str:
        """Digest the rows."""
        return digest_of((table, self.rows.tables[table.name].ordered()) for table in self.projecting.tables)


class MemoryProjections:
    """All projections of a store."""

    def __init__(self, projections: Sequence[Projecting]) -> None:
        self._all = {projecting.name: MemoryProjection(projecting) for projecting in projections}
        self.rows = MemoryRows(())
        for projection in self._all.values():
            self._join(projection)

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events into every projection that has not stopped."""
        for projection in self._all.values():
            if projection.error is None:
                projection.apply(events)

    def states(self) -> list[ProjectionState]:
        """Return where every projection stands."""
        return [
            ProjectionState(
                name,
                one.checkpoint,
                one.error,
                sum(len(one.rows.tables[table.name]) for table in one.projecting.tables),
            )
            for name, one in self._all.items()
        ]

    def shadow(self, name: str) -> MemoryProjection:
        """Return an empty copy of a projection, to be filled and switched to.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        if name not in self._all:
            raise UnknownProjectionError(name, self._all)
        return MemoryProjection(self._all[name].projecting)

    def switch(self, shadow: MemoryProjection) -> tuple[str, str]:
        """Put a shadow in the live one's place; return the digests before and after."""
        name = shadow.projecting.name
        before = self._all[name].digest()
        self._all[name] = shadow
        self._join(shadow)
        return before, shadow.digest()

    def _join(self, projection: MemoryProjection) -> None:
        self.rows.tables.update(projection.rows.tables)
