"""Keys of subjects in a schema of their own, so that they can be backed up apart from what they open.

A table that had a destroyed key is written anew, so that its file holds it no more. The server's write-ahead log, its
replicas and its backups hold it for as long as they are kept.

One connection; the ring that asks lets one thread in at a time. Who asks is often a loop that may not wait: while the
database is away, every question fails at once.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from microlith.errors import StoreAwayError
from microlith.event_store.database.keys import TABLES, Ask, DatabaseKeys, KeysAtRest, KeysLostError, identity
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import Connection, connect, is_busy, is_lost, judge, run, said
from microlith.event_store.postgres.place import Place

T = TypeVar("T")

_SQL = "postgres_keys.sql"


class PostgresKeys(DatabaseKeys):
    """Where the keys of one store are kept. Opened by whoever owns the store."""

    def __init__(self, place: Place, *, expected: bytes | None) -> None:
        """Open them, or make their schema.

        Raises:
            KeysLostError: The events expect keys, and these are missing or others.
            StoreAwayError: The server does not answer.
        """
        self._place = place._replace(schema=place.keys, durability="durable")
        self._sql = statements(_SQL)
        self._connection: Connection | None = None
        where = f"schema {place.keys} of {place.shown}"
        names = self._do(_names_in(place.keys))
        if not names >= TABLES:
            if expected is not None:
                raise KeysLostError(where, "is incomplete" if names else "is missing")
            self._do(self._create)
        self._identify(where, expected)

    def cut_off(self) -> None:
        """Leave no deleted key in the file of the table."""
        self._do(lambda connection: run(connection, self._sql["write_anew"]))

    def close(self) -> None:
        """Let go. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _create(self, connection: Connection) -> None:
        texts = [text for name, text in self._sql.items() if name.startswith("create_")]
        with connection.transaction():
            connection.execute(";\n".join(texts).replace("{schema}", self._place.schema))
            for name, value in identity():
                run(connection, self._sql["insert_meta"], (name, value))

    def _ask(self, name: str, /, *values: object) -> list[tuple[Any, ...]]:
        return self._do(lambda connection: run(connection, self._sql[name], values))

    def _transact(self, work: Callable[[Ask], object]) -> None:
        def whole(connection: Connection) -> None:
            with connection.transaction():
                work(lambda name, *values: run(connection, self._sql[name], values))

        self._do(whole)

    def _do(self, work: Callable[[Connection], T]) -> T:
        """Do something that may be done twice: when the connection is lost, once more on another one.

        Raises:
            StoreAwayError: The server does not answer.
            StoreError: It did not do it; says why.
        """
        if self._connection is not None and not self._connection.closed:
            try:
                return work(self._connection)
            except psycopg.Error as error:
                if not is_lost(error, self._connection):
                    raise self._meaning(error) from error
        self.close()
        connection = self._connection = connect(self._place, "keys")
        try:
            return work(connection)
        except psycopg.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: psycopg.Error) -> Exception:
        if self._connection is None or is_lost(error, self._connection) or is_busy(error):
            return StoreAwayError(self._place.shown, said(error))
        return judge(error, self._place)[0]


class PostgresKeysAtRest(KeysAtRest):
    """The keys of a store that is not open, only read.

    Args:
        place: Where the store lies.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._connection = connect(place._replace(schema=place.keys), "keys", reads=True)
        self._there = _names_in(place.keys)(self._connection) >= TABLES

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._connection.close()

    def _find(self, name: str, key_id: bytes) -> list[tuple[bytes, ...]]:
        return run(self._connection, statements(_SQL)[name], (key_id,)) if self._there else []


def _names_in(schema: str) -> Callable[[Connection], set[str]]:
    text = statements("postgres_schema.sql")["select_tables"]
    return lambda connection: {name for (name,) in run(connection, text, (schema,))}
