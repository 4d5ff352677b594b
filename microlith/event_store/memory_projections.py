"""Projections over rows in memory: applied inline, built anew beside the live ones.

A projection that raises is stopped at the event before; its rows stay as they were there.

Knows nothing of how events got into the log.
"""

from collections.abc import Callable, Sequence

from microlith.context import Folding
from microlith.errors import HandlerFailedError, UnknownProjectionError
from microlith.event_store.memory_tables import MemoryRows
from microlith.event_store.projecting import Projecting, ProjectionState, Reached, tell_stop
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.records import failure_text
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
        """Fold events in, up to one that fails; nothing when one has failed."""
        if self.error is None:
            try:
                self.apply_or_raise(events)
            except HandlerFailedError as error:
                self.error = f"{type(error.__cause__).__name__}: {error.reason}"
                failed = next(event for event in events if event.position > self.checkpoint)
                tell_stop(self.projecting.name, failed, self.error)

    def apply_or_raise(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events in; on an error the one that failed leaves no trace."""
        takes, fold, rows = self.projecting.takes, self.projecting.apply, self.rows
        with Folding(self.projecting.name):
            for event in events:
                try:
                    if takes(event):
                        fold(event, rows)
                except Exception as error:
                    rows.take_back()
                    raise HandlerFailedError(self.projecting.name, event.type, failure_text(error, event)) from error
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
        self._watching: list[Callable[[], None]] = []
        self._told: list[Callable[[Sequence[RecordedEvent]], None]] = []
        for projection in self._all.values():
            self._join(projection)
        self._tell_inline()

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events into every inline projection that has not stopped; tell who watches the log."""
        for told in self._told:
            told(events)

    def watch(self, grown: Callable[[], None]) -> None:
        """Have a function called after events were appended."""
        self._watching.append(grown)
        self._tell_inline()

    def advance(self, name: str, log: Sequence[RecordedEvent], limit: int) -> Reached:
        """Fold the next events of the log into a projection that is not inline."""
        one = self.find(name)
        if not one.projecting.inline:
            one.apply(log[one.checkpoint + 1 : one.checkpoint + 1 + limit])
        return Reached(one.checkpoint, one.error)

    def note(self, name: str, checkpoint: int, error: str | None) -> None:
        """Note how far a projection has come that keeps its rows elsewhere."""
        one = self.find(name)
        one.checkpoint, one.error = checkpoint, error

    def find(self, name: str) -> MemoryProjection:
        """Return a projection.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        if name not in self._all:
            raise UnknownProjectionError(name, self._all)
        return self._all[name]

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

    def taking(self, events: Sequence[RecordedEvent]) -> list[str]:
        """Name the projections that keep rows here and take one of some events."""
        return [
            name for name, one in self._all.items() if one.projecting.tables and any(map(one.projecting.takes, events))
        ]

    def shadow(self, name: str) -> MemoryProjection:
        """Return an empty copy of a projection, to be filled and switched to.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        return MemoryProjection(self.find(name).projecting)

    def switch(self, shadow: MemoryProjection) -> tuple[str, str]:
        """Put a shadow in the live one's place; return the digests before and after."""
        name = shadow.projecting.name
        before = self._all[name].digest()
        self._all[name] = shadow
        self._join(shadow)
        self._tell_inline()
        return before, shadow.digest()

    def _tell_inline(self) -> None:
        """List who hears of new events. Made when that changes: most applications have nobody who watches."""
        self._told = [one.apply for one in self._all.values() if one.projecting.inline]
        self._told += [_deaf(grown) for grown in self._watching]

    def _join(self, projection: MemoryProjection) -> None:
        self.rows.tables.update(projection.rows.tables)


def _deaf(grown: Callable[[], None]) -> Callable[[Sequence[RecordedEvent]], None]:
    """Make a function for those who want to know that there is something new, and not what."""
    return lambda _: grown()
