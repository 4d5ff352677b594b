"""The writer of a PostgreSQL store: what it opens, and what it takes away after an erasure."""

from collections.abc import Sequence

import psycopg

from microlith.event_store.database.statements import statements
from microlith.event_store.database.writer import Writer
from microlith.event_store.postgres.connection import judge
from microlith.event_store.postgres.keys import PostgresKeys
from microlith.event_store.postgres.opening import open_log
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import LogEnd, PostgresSession
from microlith.event_store.protocol import Projecting
from microlith.privacy.keys import KeyRing
from microlith.serialization import MessageTypes

_KEYS = "keys"


class PostgresWriter(Writer):
    """The thread that writes a schema.

    Args:
        place: The schema.
        types: The application's message types.
        ownership: What says that this process is its owner.
    """

    session: PostgresSession

    def __init__(self, place: Place, types: MessageTypes, ownership: Ownership) -> None:
        super().__init__(types, place.durability)
        self._place = place
        self._ownership = ownership
        self._opened: PostgresSession | None = None
        self._keys: PostgresKeys | None = None

    def sweep(self) -> None:
        """Drop snapshots and what nobody declares any more, with their files."""

        def drop() -> None:
            self.session.named("truncate_snapshots")
            self.projections.drop_undeclared()

        self.session.transact(drop)

    def _open(self, projections: Sequence[Projecting]) -> None:
        self.session = self._opened = session = PostgresSession(self._place, self._ownership)
        session.gives_up = lambda: self._closed or self._giving_up
        self.state = open_log(session, self._place, self._types, session.connect())
        session.renew = self._renew
        self._keys = self._open_keys()
        self._project(projections, unfinished=self._keys is not None and self._keys.unfinished)

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened.close()
        if self._keys is not None:
            self._types.keys = None
            self._keys.close()

    def _meaning(self, error: Exception) -> Exception:
        return judge(error, self._place)[0] if isinstance(error, psycopg.Error) else error

    def _noted(self) -> None:
        """Do nothing: the database itself knows how far it has come."""

    def _renew(self, end: LogEnd) -> None:
        self.state.renew(end.head, end.checksum, end.sequence)

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
