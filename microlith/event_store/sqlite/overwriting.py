"""Overwriting: on the writer's thread, what personal fields have left behind outside the log is taken away.

What a database with personal fields deletes is overwritten at once. In one that began without them, older bytes may
lie in free pages; it is written anew once, by the first erasure.

Every step may be done again.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from microlith.event_store.sqlite.keys import SQLiteKeys, cut_off, keys_path
from microlith.event_store.sqlite.projecting import PAGE, Projections, Standing
from microlith.event_store.sqlite.reading import LogReader
from microlith.event_store.sqlite.rows import LIVE, Run, create_table, drop_table
from microlith.event_store.sqlite.session import Session
from microlith.event_store.sqlite.state import LogState
from microlith.event_store.sqlite.statements import statements
from microlith.privacy.keys import KeyRing
from microlith.serialization import MessageTypes

_KEYS = "keys"
_OVERWRITTEN = "overwritten"


def open_keys(session: Session, state: LogState, path: Path, types: MessageTypes) -> SQLiteKeys | None:
    """Open the keys of a store, where it has personal fields or once had; `types` then seals and opens with them.

    Raises:
        KeysLostError: The store has sealed fields, and their keys are not there.
    """
    found = session.named("select_meta", _KEYS)
    place = keys_path(path)
    if not (types.personal or found or place.exists()):
        return None
    keys = SQLiteKeys(place, expected=bytes.fromhex(found[0][0]) if found else None)
    try:
        if not found:
            session.transact(lambda: _link(session, state, keys))
        session.run(statements("sqlite_keys.sql")["overwrite"])
    except BaseException:
        keys.close()
        raise
    types.keys = ring = KeyRing(keys)
    session.before = ring.keep
    return keys


def close_keys(keys: SQLiteKeys | None, types: MessageTypes) -> None:
    """Let go of the keys."""
    if keys is not None:
        types.keys = None
        keys.close()


def touched(projections: Projections, reader: LogReader, run: Run) -> list[str]:
    """Name the projections that keep rows here and take events with sealed fields."""
    firsts = run(statements("sqlite_reading.sql")["select_sealed"], ())
    events = [reader.all(position - 1, 1)[0] for (position,) in firsts]
    return [
        name
        for name, standing in projections.standings.items()
        if standing.projecting.tables and any(standing.projecting.takes(event) for event in events)
    ]


def start_over(
    session: Session, projections: Projections, names: Collection[str], reader: LogReader, stop: Callable[[], bool]
) -> None:
    """Empty projections, and fold the log into them, unless told to stop; one that raises stops where it does."""

    def empty() -> None:
        for name in names:
            projecting = projections.standing(name).projecting
            for table in projecting.tables:
                drop_table(session.connection, LIVE + table.name)
                create_table(session.connection, table)
            projections.note(name, -1, None)

    session.transact(empty)
    for name in names:
        standing = projections.standing(name)
        standing.checkpoint, standing.error = -1, None
        while _runs(standing) and not stop() and (events := reader.all(standing.checkpoint, PAGE)):
            projections.apply_page(standing, events)


def sweep(session: Session, projections: Projections, path: Path) -> None:
    """Drop snapshots and what nobody declares any more, and leave no deleted byte in the file or its write-ahead log.

    Raises:
        StoreUnavailableError: Another program has the file open.
    """
    session.transact(lambda: _drop(session, projections))
    if not session.named("select_meta", _OVERWRITTEN):
        session.run(statements("sqlite_writing.sql")["write_anew"])
        session.transact(lambda: session.named("insert_meta", _OVERWRITTEN, "1"))
    cut_off(session.connection, path)


def clean_up(
    session: Session, projections: Projections, reader: LogReader, path: Path, stop: Callable[[], bool]
) -> None:
    """Make up for an erasure that was interrupted, before anybody reads; all of it again, wherever that was."""
    start_over(session, projections, touched(projections, reader, session.run), reader, stop)
    if not stop():
        sweep(session, projections, path)


def _runs(standing: Standing) -> bool:
    return standing.error is None  # it changes where a checker of types does not see it


def _link(session: Session, state: LogState, keys: SQLiteKeys) -> None:
    session.named("insert_meta", _KEYS, keys.id.hex())
    if state.head < 0 and not state.sequence:
        session.named("insert_meta", _OVERWRITTEN, "1")


def _drop(session: Session, projections: Projections) -> None:
    """Drop the snapshots, and the rows of projections that are no longer there: they could not be built anew."""
    session.named("delete_snapshots")
    declared = {LIVE + table.name for one in projections.standings.values() for table in one.projecting.tables}
    for (name,) in session.run(statements("sqlite_schema.sql")["select_tables"]):
        if name.startswith(LIVE) and name not in declared:
            drop_table(session.connection, name)
