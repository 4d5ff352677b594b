"""Opening a log: its tables are made or checked, its end is checked, and what the writer must know is read.

A file that is not an event store, or was made by a newer version, is left as it is.

Needs the ownership of the file to have been taken.
"""

import sqlite3
from pathlib import Path
from typing import Literal

from microlith.errors import CorruptionError
from microlith.event_store.database.codec import StoredTypes
from microlith.event_store.database.opening import check_end, register
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.state import LogState
from microlith.event_store.database.statements import statements
from microlith.event_store.sqlite.connection import StoreFormatError, code_of, configure, damage_in
from microlith.event_store.sqlite.session import SQLiteSession
from microlith.serialization import MessageTypes

VERSION = 1


def open_log(
    session: SQLiteSession, path: Path, types: MessageTypes, durability: Literal["durable", "fast"]
) -> LogState:
    """Make or check the tables, check the newest events, and read the state.

    Raises:
        StoreFormatError: The file is something else, or newer; it was not changed.
        CorruptionError: The end of the log is damaged.
    """
    try:
        empty = _is_empty(session, path)
        configure(session.connection, durability)
        if empty:
            session.transact(lambda: _create(session))
        return _read_state(session, types)
    except (LookupError, TypeError, ValueError) as error:
        # Everything read here was written by this package: what cannot be understood is damaged.
        raise CorruptionError(str(path), damage_in(error) or f"{type(error).__name__}: {error}") from None


def _read_state(session: SQLiteSession, types: MessageTypes) -> LogState:
    session.transact(lambda: _complete_and_register(session, types))
    reading = statements("sqlite_reading.sql")
    numbered = StoredTypes(session.run(reading["select_types"]), types)
    head = int(session.run(reading["select_last_position"])[0][0])
    reader = LogReader(session, numbered, types, lambda: head)
    checksum = check_end(session, reader, head)
    return LogState(session, numbered, head, checksum, session.named("select_last_sequence")[0][0])


def _is_empty(session: SQLiteSession, path: Path) -> bool:
    """Tell whether the tables have to be made; refuse a file that belongs to something else."""
    schema = statements("sqlite_schema.sql")
    try:
        names = {name for (name,) in session.run(schema["select_tables"])}
    except sqlite3.DatabaseError as error:
        if code_of(error) == sqlite3.SQLITE_NOTADB:
            raise StoreFormatError(path, "is not a SQLite database") from error
        raise
    if "meta" not in names:
        if names:
            raise StoreFormatError(path, "is a SQLite database of something else")
        return True
    found = session.run(schema["select_version"])
    if not found or int(found[0][0]) > VERSION:
        kept = found[0][0] if found else "unknown"
        raise StoreFormatError(path, f"has format {kept}; this version of microlith knows {VERSION}")
    return False


def _create(session: SQLiteSession) -> None:
    schema = statements("sqlite_schema.sql")
    for name, text in schema.items():
        if name.startswith("create_"):
            session.run(text)
    session.run(schema["insert_version"], (str(VERSION),))


def _complete_and_register(session: SQLiteSession, types: MessageTypes) -> None:
    schema = statements("sqlite_schema.sql")
    if ("key",) not in session.run(schema["columns_of_dead_letters"]):
        session.run(schema["add_key_to_dead_letters"])
        session.run(schema["add_behind_to_dead_letters"])
    for text in schema.values():
        if "IF NOT EXISTS" in text:  # tables that databases of an earlier version do not have
            session.run(text)
    register(session, types)
