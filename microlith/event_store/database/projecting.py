"""Projections on the writer's thread: applied in the transaction that appends, caught up, and built anew.

The rows of a projection, its checkpoint and the events change together. One that raises is stopped at the event
before and stays there; the others go on.

Decides nothing about when a batch is committed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from pydantic_core import to_json

from microlith.context import Folding
from microlith.errors import HandlerFailedError, UnknownProjectionError
from microlith.event_store.database.batch import storable
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.rows import LIVE, REPLACED, SHADOW, DatabaseRows, Tables
from microlith.event_store.database.session import Session, ValueRefused
from microlith.event_store.projecting import Projecting, tell_stop
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.records import failure_text

logger = logging.getLogger("microlith.projections")

PAGE = 500  # larger pages fall out of the processor's cache and take longer for each event


class ProjectionRaisedError(Exception):
    """A projection raised in a first try: roll back and apply carefully. Never leaves the store."""


class Standing:
    """One projection and where it stands.

    Attributes:
        outdated: The checkpoint of its rows if they are those of another fingerprint, and serve until new ones are
            built beside them; None otherwise.
    """

    __slots__ = ("checkpoint", "error", "outdated", "projecting")

    def __init__(self, projecting: Projecting, checkpoint: int = -1, error: str | None = None) -> None:
        self.projecting = projecting
        self.checkpoint = checkpoint
        self.error = error
        self.outdated: int | None = None


Stopped = dict[str, tuple[RecordedEvent, str]]
"""Projections that stopped: name to the event they stopped at, and the error."""


class Projections:
    """All projections of a store."""

    def __init__(self, session: Session, projections: Sequence[Projecting]) -> None:
        self.standings = {projecting.name: Standing(projecting) for projecting in projections}
        self._inline = {name: one for name, one in self.standings.items() if one.projecting.inline}
        self._session = session
        self._tables = Tables(session)
        self._live = DatabaseRows(session, LIVE)
        self._shadow = DatabaseRows(session, SHADOW)

    def standing(self, name: str) -> Standing:
        """Return where a projection stands.

        Raises:
            UnknownProjectionError: The store was opened without it.
        """
        if name not in self.standings:
            raise UnknownProjectionError(name, self.standings)
        return self.standings[name]

    def prepare(self) -> None:
        """Create the tables of new projections, and drop shadows left over. One transaction.

        The rows of one that has changed stay for now, unless new code could not read them while the new ones are built.
        """
        known = {name: rest for name, *rest in self._session.named("select_projections")}
        there = self._tables.there()
        for name in there:
            if name.startswith((SHADOW, REPLACED)):
                self._tables.drop(name)
        for name, standing in self.standings.items():
            projecting = standing.projecting
            fingerprint, checkpoint, _ = known.get(name, ("", -1, None))
            whole = all(self._tables.name(table) in there for table in projecting.tables)
            if fingerprint == projecting.fingerprint and whole:
                standing.checkpoint = checkpoint
            elif (
                whole and checkpoint >= 0 and projecting.tables and (projecting.inline or self._fit(projecting, there))
            ):
                standing.outdated = checkpoint
                continue
            else:
                self.make_empty(projecting)
            self._save(standing)

    def join(self, head: int) -> bool:
        """Take over where every projection stands, as whoever leads keeps them; tell whether all can be folded into.

        Args:
            head: Up to where the log was written a moment before.
        """
        ready = self.renew() == len(self.standings)
        return ready and all(one.error is not None or one.checkpoint >= head for one in self._inline.values())

    def renew(self) -> int:
        """Read where the projections stand, which others have moved; return how many are there as this code has them.

        One whose new rows could not be built counts, too: it stands still with the old ones.
        """
        known = {name: rest for name, *rest in self._session.named("select_projections")}
        found = 0
        for name, standing in self.standings.items():
            fingerprint, checkpoint, error = known.get(name, ("", -1, None))
            is_new = fingerprint == standing.projecting.fingerprint
            if is_new or error is not None:
                standing.checkpoint, standing.error = checkpoint, error
                standing.outdated = None if is_new else checkpoint
                found += 1
        return found

    def make_empty(self, projecting: Projecting) -> None:
        """Make the tables of a projection anew, without rows."""
        for table in projecting.tables:
            self._tables.drop_one(table)
            self._tables.make(table)

    def drop_undeclared(self) -> None:
        """Drop the tables of projections that are no longer there."""
        declared = {self._tables.name(table) for one in self.standings.values() for table in one.projecting.tables}
        for name in self._tables.there():
            if name.startswith(LIVE) and name not in declared:
                self._tables.drop(name)

    def catch_up(self, reader: LogReader, stop: Callable[[], bool]) -> None:
        """Bring every inline projection up to where the reader knows the log to end, each page a transaction, unless told to stop.

        Others may append behind that meanwhile who share the store, and fold it themselves.
        """
        for standing in self._inline.values():
            if standing.outdated is not None and not self._replace(standing, reader, stop):
                continue
            while standing.error is None and not stop() and standing.checkpoint < reader.head:
                self.apply_page(standing, reader.all(standing.checkpoint, PAGE))

    def apply(self, events: Sequence[RecordedEvent], *, carefully: bool) -> Stopped:
        """Fold new events into every inline projection that runs, and write the checkpoints.

        Args:
            events: New events, in order.
            carefully: Set a savepoint before each event, so that one that fails can be taken back alone.

        Returns:
            The projections that stopped.

        Raises:
            ProjectionRaisedError: One raised, and this was not careful.
        """
        stopped: Stopped = {}
        running = []
        for name, standing in self._inline.items():
            if standing.error is None:
                if carefully:
                    failed = self._fold_carefully(standing.projecting, events)
                    if failed is not None:
                        stopped[name] = failed
                        self._save(Standing(standing.projecting, failed[0].position - 1, failed[1]))
                        continue
                else:
                    self._fold(standing.projecting, events)
                running.append(name)
        if running and events:
            self._session.named("advance_projections", events[-1].position, to_json(running).decode())
        return stopped

    def adopt(self, head: int, stopped: Stopped) -> None:
        """Take over what was committed."""
        for name, standing in self._inline.items():
            if name in stopped:
                event, error = stopped[name]
                standing.checkpoint, standing.error = event.position - 1, error
                tell_stop(name, event, error)
            elif standing.error is None:
                standing.checkpoint = head

    def begin_shadow(self, name: str) -> None:
        """Create empty shadow tables for a projection."""
        for table in self.standing(name).projecting.tables:
            self._tables.drop_one(table, SHADOW)
            self._tables.make(table, SHADOW)

    def fill_shadow(self, name: str, events: Sequence[RecordedEvent]) -> None:
        """Fold events into the shadow tables, in a transaction of their own.

        Raises:
            HandlerFailedError: The projection raised.
        """
        try:
            self._session.transact(partial(self._fill_shadow, name, events))
        except (HandlerFailedError, ValueRefused):
            if not self._session.is_far:
                raise
            # What the database refused was told late, perhaps at another event.
            self._session.transact(partial(self._fill_shadow, name, events, carefully=True))

    def fill_shadow_within(self, name: str, events: Sequence[RecordedEvent]) -> None:
        """Fold events into the shadow tables, in a transaction that has begun.

        Raises:
            HandlerFailedError: The projection raised.
        """
        self._fill_shadow(name, events, carefully=self._session.is_far)

    def _fill_shadow(self, name: str, events: Sequence[RecordedEvent], *, carefully: bool = False) -> None:
        projecting = self.standing(name).projecting
        with Folding(name):
            for event in events:
                try:
                    if projecting.takes(event):
                        projecting.apply(event, self._shadow)
                        if carefully:
                            self._session.confirm()
                except Exception as error:
                    if self._session.is_broken_by(error):
                        raise
                    told = f"{event.type} at position {event.position}"
                    raise HandlerFailedError(name, told, failure_text(error, event)) from error

    def drop_left_over(self, name: str) -> None:
        """Drop the shadow tables, and those that a shadow has replaced, if they are there."""
        for table in self.standing(name).projecting.tables:
            self._tables.drop_one(table, SHADOW)
            self._tables.drop_one(table, REPLACED)

    def keep_outdated(self, name: str, why: str) -> None:
        """Note why the outdated rows of a projection could not be replaced; they stay, and the next start tries again."""
        standing = self.standing(name)
        if standing.outdated is not None:
            standing.checkpoint, standing.error = (
                standing.outdated,
                f"the new rows could not be built, the old ones stay: {why}",
            )
            self._session.named("stop_projection", storable(standing.error), name)
            logger.error("Projection %s has changed, and %s", name, standing.error)

    def _replace(self, standing: Standing, reader: LogReader, stop: Callable[[], bool]) -> bool:
        """Build the rows of a changed projection anew beside the old ones, and switch; tell whether that was done."""
        name, done, transact = standing.projecting.name, -1, self._session.transact
        transact(lambda: self.begin_shadow(name))
        try:
            while not stop() and (events := reader.all(done, PAGE)):
                self.fill_shadow(name, events)
                done = events[-1].position
        except HandlerFailedError as error:
            why = str(error)
            transact(lambda: self.drop_left_over(name))
            transact(lambda: self.keep_outdated(name, why))
            return False
        if stop():
            return False  # what has begun is dropped at the next start

        def switch() -> None:
            self.switch(name, done)
            self.drop_left_over(name)

        transact(switch)
        self.switched(name, done)
        return True

    def switched(self, name: str, head: int) -> None:
        """Take over that the rows of a projection are new ones."""
        standing = self.standing(name)
        standing.checkpoint, standing.error, standing.outdated = head, None, None

    def switch(self, name: str, head: int) -> None:
        """Put the shadow tables in the live ones' place, which stay aside; they hold everything up to `head`."""
        standing = self.standing(name)
        for table in standing.projecting.tables:
            self._tables.drop_one(table, REPLACED)
            self._tables.rename(table, LIVE, REPLACED)
            self._tables.rename(table, SHADOW, LIVE)
        self._save(Standing(standing.projecting, head))

    def note(self, name: str, checkpoint: int, error: str | None) -> None:
        """Write how far a projection has come that keeps its rows elsewhere."""
        self._save(Standing(self.standing(name).projecting, checkpoint, error))

    def _fold(self, projecting: Projecting, events: Sequence[RecordedEvent], until: float | None = None) -> int:
        """Fold events into the live rows, to the end or as long as there is time; return the last position."""
        position = events[-1].position
        try:
            with Folding(projecting.name):
                for event in events:
                    if projecting.takes(event):
                        projecting.apply(event, self._live)
                        if until is not None and monotonic() > until:
                            return event.position
        except Exception as error:
            if self._session.is_broken_by(error):
                raise
            raise ProjectionRaisedError from error
        return position

    def _fold_carefully(
        self, projecting: Projecting, events: Sequence[RecordedEvent]
    ) -> tuple[RecordedEvent, str] | None:
        run = self._session.run
        for event in events:
            run("SAVEPOINT event")
            try:
                if projecting.takes(event):
                    with Folding(projecting.name):
                        projecting.apply(event, self._live)
                    self._session.confirm()
            except Exception as error:
                if self._session.is_broken_by(error):
                    raise
                run("ROLLBACK TO event")
                run("RELEASE event")
                return event, storable(f"{type(error).__name__}: {failure_text(error, event)}")
            run("RELEASE event")
        return None

    def apply_page(self, standing: Standing, events: Sequence[RecordedEvent], seconds: float | None = None) -> None:
        """Fold events that follow a projection's checkpoint, in a transaction of their own; not all if there is no time."""
        failed: tuple[RecordedEvent, str] | None = None

        def fold() -> Standing:
            until = None if seconds is None else monotonic() + seconds
            return self._save(Standing(standing.projecting, self._fold(standing.projecting, events, until)))

        def fold_carefully() -> Standing:
            nonlocal failed
            failed = self._fold_carefully(standing.projecting, events)
            place = (events[-1].position, None) if failed is None else (failed[0].position - 1, failed[1])
            return self._save(Standing(standing.projecting, *place))

        try:
            reached = self._session.transact(fold)
        except (ProjectionRaisedError, ValueRefused):
            reached = self._session.transact(fold_carefully)
        standing.checkpoint, standing.error = reached.checkpoint, reached.error
        if failed is not None:
            tell_stop(standing.projecting.name, *failed)

    def _save(self, standing: Standing) -> Standing:
        projecting = standing.projecting
        self._session.named(
            "upsert_projection", projecting.name, projecting.fingerprint, standing.checkpoint, standing.error
        )
        return standing

    def _fit(self, projecting: Projecting, there: Mapping[str, str]) -> bool:
        """Tell whether the live tables of a projection can be asked in the way in which its new ones will be."""
        return all(there[self._tables.name(table)] == self._tables.text(table) for table in projecting.tables)
