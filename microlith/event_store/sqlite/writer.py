"""The writer of a SQLite store: what it opens, and how it leaves nothing of the erased in the file.

A file that was begun without personal fields may have older bytes in free pages: it is written anew once, by the first
erasure. From then on, what is deleted is overwritten at once.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from microlith.event_store.database.state import LogState
from microlith.event_store.database.statements import statements
from microlith.event_store.database.writer import Durability, Writer
from microlith.event_store.protocol import Projecting
from microlith.event_store.sqlite.connection import connect_writer, judge, make_file
from microlith.event_store.sqlite.keys import SQLiteKeys, cut_off, keys_path
from microlith.event_store.sqlite.mark import Mark
from microlith.event_store.sqlite.opening import open_log
from microlith.event_store.sqlite.session import SQLiteSession
from microlith.privacy.keys import KeyRing
from microlith.serialization import MessageTypes

_KEYS = "keys"
_OVERWRITTEN = "overwritten"


class SQLiteWriter(Writer):
    """The thread that writes a file.

    Args:
        path: The file.
        types: The application's message types.
        durability: How hard commits are pressed onto the disk.
    """

    session: SQLiteSession

    def __init__(self, path: Path, types: MessageTypes, durability: Durability) -> None:
        super().__init__(types, durability)
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._mark: Mark | None = None
        self._keys: SQLiteKeys | None = None

    def sweep(self) -> None:
        """Drop snapshots and what nobody declares any more, and leave no deleted byte in the file or its log.

        Raises:
            StoreUnavailableError: Another program has the file open.
        """
        session = self.session
        session.transact(self._drop)
        if not session.named("select_meta", _OVERWRITTEN):
            session.run(statements("sqlite_writing.sql")["write_anew"])
            session.transact(lambda: session.named("insert_meta", _OVERWRITTEN, "1"))
        cut_off(session.connection, self._path)

    def _open(self, projections: Sequence[Projecting]) -> None:
        new = make_file(self._path)
        self._connection = connect_writer(self._path)
        self._mark = Mark(self._path)
        if new:
            self._mark.forget()
        self.session = SQLiteSession(self._connection, self._path)
        self.state = open_log(self.session, self._path, self._types, self._durability)
        self._mark.check(self.state.head, self.state.sequence)
        self._keys = open_keys(self.session, self.state, self._path, self._types)
        self._project(projections, unfinished=self._keys is not None and self._keys.unfinished)

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._keys is not None:
            self._types.keys = None
            self._keys.close()
        if self._mark is not None:
            self._mark.close()

    def _meaning(self, error: Exception) -> Exception:
        return judge(error, "begin", self._path)[0] if isinstance(error, sqlite3.Error) else error

    def _noted(self) -> None:
        if self._mark is not None:
            self._mark.note(self.state.head, self.state.sequence)

    def _drop(self) -> None:
        """Drop the snapshots, and the rows of projections that are no longer there: they could not be built anew."""
        self.session.named("delete_snapshots")
        self.projections.drop_undeclared()


def open_keys(session: SQLiteSession, state: LogState, path: Path, types: MessageTypes) -> SQLiteKeys | None:
    """Open the keys of a store, where it has personal fields or once had; `types` then seals and opens with them.

    Raises:
        KeysLostError: The store has sealed fields, and their keys are not there.
    """
    found = session.named("select_meta", _KEYS)
    place = keys_path(path)
    if not (types.personal or found or place.exists()):
        return None
    # A store that holds nothing yet goes on with any keys: somebody has put those there that an import needs.
    linked = bytes.fromhex(found[0][0]) if found and not state.is_bare() else None
    keys = SQLiteKeys(place, expected=linked)
    try:
        if linked is None:
            session.transact(lambda: _link(session, state, keys))
        session.run(statements("sqlite_keys.sql")["overwrite"])
    except BaseException:
        keys.close()
        raise
    types.keys = ring = KeyRing(keys)
    session.before = ring.keep
    return keys


def _link(session: SQLiteSession, state: LogState, keys: SQLiteKeys) -> None:
    session.named("insert_meta", _KEYS, keys.id.hex())
    if state.head < 0 and not state.sequence:
        session.named("insert_meta", _OVERWRITTEN, "1")
