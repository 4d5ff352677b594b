"""The writer of a PostgreSQL store: what it opens, and what it takes away after an erasure."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import psycopg

from microlith.errors import StoreError
from microlith.event_store.database.projecting import Projections
from microlith.event_store.database.session import WriteFailed
from microlith.event_store.database.statements import statements
from microlith.event_store.database.writer import Writer
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.postgres.connection import judge
from microlith.event_store.postgres.keys import PostgresKeys
from microlith.event_store.postgres.opening import open_log
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.permission import Membership, Permission
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import LogEnd, PostgresSession
from microlith.event_store.protocol import Projecting
from microlith.privacy.keys import KeyRing
from microlith.serialization import MessageTypes

_KEYS = "keys"


class ProjectionsBehindError(StoreError):
    """Whoever leads has not brought the projections up to the log yet, so that nobody can share the store."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"The projections in {place.shown} are being built.", hint="Wait; it is tried again by itself."
        )


class PostgresWriter(Writer):
    """The thread that writes a schema.

    Args:
        place: The schema.
        types: The application's message types.
        permission: What says that this process may write: it is the owner, or one of those that share it.

    Attributes:
        others: What is called on the loop when others have written, with the last position of the log.
    """

    session: PostgresSession

    def __init__(self, place: Place, types: MessageTypes, permission: Permission) -> None:
        super().__init__(types, place.durability)
        self.others: list[Callable[[int], None]] = []
        self._place = place
        self._permission = permission
        self._opened: PostgresSession | None = None
        self._keys: PostgresKeys | None = None
        self._projecting: Sequence[Projecting] = ()

    def lead(self, ownership: Ownership) -> None:
        """Go on as the one that leads, inside a job: know all that is not finished, and bring the projections up.

        Raises:
            StoreError: That cannot be done; all is as before.
        """
        session, state = self.session, self.state
        before = session.permission, self.projections
        session.permission = ownership
        try:
            session.transact(lambda: state.renew(state.head, state.checksum, state.sequence))
            self._project(self._projecting, unfinished=False)
        except BaseException as error:
            session.permission, self.projections = before
            if isinstance(error, WriteFailed):
                raise error.error from error
            raise

    def restore(self, copies: Iterable[EventCopy]) -> int:
        """Append copies of events. Whoever shared the store with this process writes no more: it may not know their types."""
        if self._place.shared and isinstance(ownership := self.session.permission, Ownership):
            sql = statements("postgres_owning.sql")

            def begin_alone() -> int:
                self.session.run(sql["share"], ("",))
                return int(self.session.run(sql["begin_alone"])[0][0])

            ownership.epoch = self.transact(begin_alone)
        return super().restore(copies)

    def look(self) -> None:
        """Find out whether others have written, inside a job."""
        if self.failure is None:
            self.session.look()

    def sweep(self) -> None:
        """Drop snapshots and what nobody declares any more, with their files."""

        def drop() -> None:
            self.session.named("truncate_snapshots")
            self.projections.drop_undeclared()

        self.session.transact(drop)

    def _open(self, projections: Sequence[Projecting]) -> None:
        self._projecting = projections
        self.session = self._opened = session = PostgresSession(self._place, self._permission)
        session.gives_up = lambda: self._closed or self._giving_up
        session.connect()
        self.state = open_log(session, self._place, self._types)
        self.projections = Projections(session, projections)
        session.renew = self._renew
        self._keys = self._open_keys()
        if isinstance(self._permission, Membership):
            self._join()
        else:
            self._project(projections, unfinished=self._keys is not None and self._keys.unfinished)

    def _join(self) -> None:
        """See that whoever leads has brought the projections up to the log; from then on each commit folds into them.

        Raises:
            WriteFailed: It has not yet.
        """
        if not self.projections.join(self.session.written()):
            raise WriteFailed(ProjectionsBehindError(self._place), usable=True)

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened.leave()
        if self._keys is not None:
            self._types.keys = None
            self._keys.close()

    def _meaning(self, error: Exception) -> Exception:
        return judge(error, self._place)[0] if isinstance(error, psycopg.Error) else error

    def _noted(self) -> None:
        """Do nothing: the database itself knows how far it has come."""

    def _renew(self, end: LogEnd) -> None:
        if not self._place.shared:
            self.state.renew(end.head, end.checksum, end.sequence)
            return
        self.state.follow(end.head, end.checksum, end.sequence)
        self.projections.renew()
        self._tell_watching()
        with suppress(RuntimeError):  # the loop was closed under the store: there is nobody left to tell
            for wrote in self.others:
                self._loop.call_soon_threadsafe(wrote, end.head)

    def _open_keys(self) -> PostgresKeys | None:
        """Open the keys of a store, where it has personal fields or once had; its types then seal and open with them.

        Raises:
            KeysLostError: The store has sealed fields, and their keys are not there.
        """
        session = self.session
        found = session.named("select_meta", _KEYS)
        there = session.run(statements("postgres_schema.sql")["select_tables"], (self._place.keys,))
        if not (self._types.personal or found or there):
            return None
        # A store that holds nothing yet goes on with any keys: somebody has put those there that an import needs.
        linked = bytes.fromhex(found[0][0]) if found and not self.state.is_bare() else None
        keys = PostgresKeys(self._place, expected=linked)
        try:
            if linked is None:
                session.transact(lambda: session.named("insert_meta", _KEYS, keys.id.hex()))
        except BaseException:
            keys.close()
            raise
        self._types.keys = ring = KeyRing(keys)
        session.before = ring.keep
        return keys
