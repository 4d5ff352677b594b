"""Opening a log in a schema: its tables are made or checked, its end is checked, and what the writer must know is read.

A schema that is not an event store, or was made by a newer version, is left as it is.
"""

import psycopg

from microlith.errors import CorruptionError, StoreError
from microlith.event_store.database.codec import NO_CHECKSUM, StoredTypes
from microlith.event_store.database.opening import check_end, register
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.state import LogState
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import Connection, run, said
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import PostgresSession
from microlith.serialization import MessageTypes

VERSION = 1
_OLDEST = 140000


class SchemaError(StoreError):
    """The schema is not an event store that this version can use; it was not changed."""

    def __init__(self, place: Place, reason: str, *, hint: str = "") -> None:
        super().__init__(
            f"The schema {place.schema} of {place.shown} {reason}.",
            hint=hint or "Name another schema in the store's url, or use the version that made it.",
        )


def server_of(connection: Connection, place: Place) -> str:
    """Return the version of the server.

    Raises:
        SchemaError: It is too old, or its texts are not Unicode.
    """
    number, version, encoding = run(connection, statements("postgres_schema.sql")["select_server"])[0]
    if number < _OLDEST:
        raise SchemaError(place, f"lies on PostgreSQL {version}", hint="Use PostgreSQL 14 or newer.")
    if encoding != "UTF8":
        raise SchemaError(
            place,
            f"lies in a database with the encoding {encoding}",
            hint="Make the database with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`.",
        )
    return str(version).partition(" ")[0]


def is_empty(connection: Connection, place: Place) -> bool:
    """Tell whether the tables have to be made; refuse a schema that belongs to something else.

    Raises:
        SchemaError: It does, or is of a newer version.
    """
    schema = statements("postgres_schema.sql")
    names = {name for (name,) in run(connection, schema["select_tables"], (place.schema,))}
    if "meta" not in names:
        if names:
            raise SchemaError(place, "holds tables of something else")
        return True
    found = run(connection, schema["select_version"])
    if not found or int(found[0][0]) > VERSION:
        kept = found[0][0] if found else "unknown"
        raise SchemaError(place, f"has format {kept}; this version of microlith knows {VERSION}")
    return False


def prepare(connection: Connection, place: Place) -> None:
    """Make the schema and its tables where they are missing.

    Raises:
        SchemaError: The schema is something else, or newer, or may not be made.
    """
    server_of(connection, place)
    if not is_empty(connection, place):
        return
    schema = statements("postgres_schema.sql")
    try:
        with connection.transaction():
            texts = [text for name, text in schema.items() if name.startswith("create_")]
            connection.execute(";\n".join(texts).replace("{schema}", place.schema))
            run(connection, schema["insert_version"], (str(VERSION),))
            run(connection, schema["insert_log_end"], (NO_CHECKSUM,))
    except psycopg.errors.InsufficientPrivilege as error:
        raise SchemaError(
            place,
            f"cannot be made: {said(error)}",
            hint=f"Have an administrator run `CREATE SCHEMA {place.schema} AUTHORIZATION ...` for this user.",
        ) from None


def open_log(session: PostgresSession, place: Place, types: MessageTypes) -> LogState:
    """Check the newest events, and read the state, while nobody else can write.

    Raises:
        CorruptionError: The end of the log is damaged.
    """

    def read() -> LogState:
        register(session, types)
        reading = statements("postgres_reading.sql")
        numbered = StoredTypes(session.run(reading["select_types"]), types)
        head = int(session.run(reading["select_last_position"])[0][0])
        written, sequence, kept = session.end()
        if head != written:
            raise CorruptionError(
                f"position {min(head, written) + 1}", f"the log ends at {head}, but was written up to {written}"
            )
        checksum = check_end(session, LogReader(session, numbered, types, lambda: head), head)
        if checksum != kept:
            raise CorruptionError(f"position {head}", "the last checksum is not the one that was written")
        return LogState(session, numbered, head, checksum, sequence)

    try:
        return session.transact(read)
    except (LookupError, TypeError, ValueError) as error:
        # Everything read here was written by this package: what cannot be understood is damaged.
        raise CorruptionError(place.shown, f"{type(error).__name__}: {error}") from None
