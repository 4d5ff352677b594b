"""Rows of read models in SQLite tables.

The same code reads the live tables on any connection and writes live or shadow tables inside the writer's transaction.

Knows neither threads nor transactions; `run` is given to it.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from microlith.event_store.sqlite.statements import statements
from microlith.event_store.tables import Column, Key, TableSpec, check_asked, check_table

LIVE = "rows_"
SHADOW = "shadow_"

Run = Callable[[str, Sequence[Any]], list[Any]]


class SQLiteRows:
    """Reads and writes rows; a RowReader, and a RowWriter where `run` may write."""

    def __init__(self, run: Run, prefix: str = LIVE) -> None:
        self._run = run
        self._prefix = prefix
        self._texts: dict[tuple[str, ...], str] = {}
        self._sql = statements("sqlite_rows.sql")

    def get(self, table: TableSpec, key: Key) -> bytes | None:
        """Return the row of this key, or None."""
        text = self._texts.get((table.name,)) or self._text(table, "get")
        found = self._run(text, (key,))
        return found[0][0] if found else None

    def find(self, table: TableSpec, equal: Mapping[str, Column], limit: int) -> list[bytes]:
        """Return up to `limit` rows that match, by key."""
        text = self._texts.get(("find", table.name, *equal)) or self._asking(table, "find", equal)
        return [row for (row,) in self._run(text, (*equal.values(), limit))]

    def count(self, table: TableSpec, equal: Mapping[str, Column]) -> int:
        """Count the rows that match."""
        text = self._texts.get(("count", table.name, *equal)) or self._asking(table, "count", equal)
        return int(self._run(text, tuple(equal.values()))[0][0])

    def put(self, table: TableSpec, key: Key, data: bytes, columns: Mapping[str, Column]) -> None:
        """Insert or replace a row."""
        text = self._texts.get(("put", table.name)) or self._putting(table)
        self._run(text, (key, data, *[columns.get(field) for field in table.indexes]))

    def delete(self, table: TableSpec, key: Key) -> bool:
        """Delete a row; tell whether there was one."""
        text = self._texts.get(("delete", table.name)) or self._text(table, "delete")
        return bool(self._run(text, (key,)))

    def _text(self, table: TableSpec, name: str) -> str:
        text = self._sql[name].replace("{table}", self._prefix + table.name)
        self._texts[(table.name,) if name == "get" else (name, table.name)] = text
        return text

    def _asking(self, table: TableSpec, name: str, equal: Mapping[str, Column]) -> str:
        check_asked(table, equal)
        columns = ["key" if field == table.key else f'"by_{field}"' for field in equal]
        where = " WHERE " + " AND ".join(f"{column} IS ?" for column in columns) if columns else ""
        text = self._sql[name].replace("{table}", self._prefix + table.name).replace("{where}", where)
        self._texts[name, table.name, *equal] = text
        return text

    def _putting(self, table: TableSpec) -> str:
        columns = "".join(f', "by_{field}"' for field in table.indexes)
        text = self._sql["put"].replace("{table}", self._prefix + table.name)
        text = text.replace("{columns}", columns).replace("{values}", ", ?" * len(table.indexes))
        self._texts["put", table.name] = text
        return text


def create_table(connection: sqlite3.Connection, table: TableSpec, prefix: str = LIVE) -> None:
    """Create the table of a read model.

    Raises:
        TableError: A name in it is not allowed.
    """
    connection.execute(table_text(table, prefix))


def table_text(table: TableSpec, prefix: str = LIVE) -> str:
    """Write the statement that creates the table of a read model; SQLite keeps it as it is.

    Raises:
        TableError: A name in it is not allowed.
    """
    check_table(table)
    sql = statements("sqlite_rows.sql")
    text = sql[f"create_by_{table.key_type}"].replace("{table}", prefix + table.name)
    for part, name in (("{columns}", "column"), ("{indexes}", "index")):
        text = text.replace(part, "".join(sql[name].replace("{field}", field) for field in table.indexes))
    return text


def drop_table(connection: sqlite3.Connection, name: str) -> None:
    """Drop a table by its whole name."""
    connection.execute(statements("sqlite_rows.sql")["drop"].replace("{table}", name))


def switch_table(connection: sqlite3.Connection, table: TableSpec) -> None:
    """Put a shadow table in the live one's place."""
    drop_table(connection, LIVE + table.name)
    text = statements("sqlite_rows.sql")["rename"]
    connection.execute(text.replace("{shadow}", SHADOW + table.name).replace("{table}", LIVE + table.name))


def ordered_rows(connection: sqlite3.Connection, table: TableSpec, prefix: str) -> Iterator[tuple[Key, bytes]]:
    """Yield keys and rows by key."""
    text = statements("sqlite_rows.sql")["ordered"].replace("{table}", prefix + table.name)
    return connection.execute(text)
