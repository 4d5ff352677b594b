"""Rows of read models in the tables of a database.

The same code reads the live tables on any connection and writes live or shadow tables inside the writer's transaction.

Knows neither threads nor transactions.
"""

from collections.abc import Mapping
from typing import Any

from microlith.event_store.database.session import Source
from microlith.event_store.database.statements import statements
from microlith.event_store.tables import Column, Key, TableSpec, check_asked, check_table

LIVE = "rows_"
SHADOW = "shadow_"
"""Built beside the live one."""
REPLACED = "replaced_"
"""Was a live one until a shadow took its place; about to be dropped."""


class DatabaseRows:
    """Reads and writes rows; a RowReader, and a RowWriter where the source may write."""

    def __init__(self, source: Source, prefix: str = LIVE) -> None:
        self._run = source.run
        self._dialect = source.dialect
        self._prefix = prefix
        self._texts: dict[tuple[str, ...], str] = {}
        self._sql = statements(f"{source.dialect.name}_rows.sql")

    def get(self, table: TableSpec, key: Key) -> bytes | None:
        """Return the row of this key, or None."""
        text = self._texts.get((table.name,)) or self._text(table, "get")
        found = self._run(text, (self._dialect.key(table, key),))
        return found[0][0] if found else None

    def find(self, table: TableSpec, equal: Mapping[str, Column], limit: int) -> list[bytes]:
        """Return up to `limit` rows that match, by key."""
        text = self._texts.get(("find", table.name, *equal)) or self._asking(table, "find", equal)
        return [row for (row,) in self._run(text, (*self._values(table, equal), limit))]

    def count(self, table: TableSpec, equal: Mapping[str, Column]) -> int:
        """Count the rows that match."""
        text = self._texts.get(("count", table.name, *equal)) or self._asking(table, "count", equal)
        return int(self._run(text, self._values(table, equal))[0][0])

    def put(self, table: TableSpec, key: Key, data: bytes, columns: Mapping[str, Column]) -> None:
        """Insert or replace a row.

        Raises:
            TableError: The database cannot hold its key.
        """
        text = self._texts.get(("put", table.name)) or self._putting(table)
        value = self._dialect.value
        self._run(text, (self._dialect.key(table, key), data, *[value(columns.get(field)) for field in table.indexes]))

    def delete(self, table: TableSpec, key: Key) -> bool:
        """Delete a row; tell whether there was one."""
        text = self._texts.get(("delete", table.name)) or self._text(table, "delete")
        return bool(self._run(text, (self._dialect.key(table, key),)))

    def _values(self, table: TableSpec, equal: Mapping[str, Column]) -> tuple[Any, ...]:
        dialect = self._dialect
        return tuple(
            dialect.key(table, value) if field == table.key else dialect.value(value) for field, value in equal.items()
        )

    def _text(self, table: TableSpec, name: str) -> str:
        text = self._sql[name].replace("{table}", self._dialect.table(self._prefix, table.name))
        self._texts[(table.name,) if name == "get" else (name, table.name)] = text
        return text

    def _asking(self, table: TableSpec, name: str, equal: Mapping[str, Column]) -> str:
        check_asked(table, equal)
        dialect = self._dialect
        columns = ["key" if field == table.key else f'"{dialect.column(field)}"' for field in equal]
        tests = [dialect.equal(column, dialect.place(number)) for number, column in enumerate(columns, 1)]
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        text = self._sql[name].replace("{table}", dialect.table(self._prefix, table.name)).replace("{where}", where)
        text = self._texts[name, table.name, *equal] = text.replace("{limit}", dialect.place(len(tests) + 1))
        return text

    def _putting(self, table: TableSpec) -> str:
        dialect = self._dialect
        columns = [f'"{dialect.column(field)}"' for field in table.indexes]
        text = self._sql["put"].replace("{table}", dialect.table(self._prefix, table.name))
        text = text.replace("{columns}", "".join(f", {column}" for column in columns))
        text = text.replace("{values}", "".join(f", {dialect.place(3 + number)}" for number in range(len(columns))))
        text = text.replace("{changes}", "".join(f", {column} = excluded.{column}" for column in columns))
        self._texts["put", table.name] = text
        return text


class Tables:
    """Makes and drops the tables of read models, in the transaction of its session."""

    def __init__(self, source: Source) -> None:
        self._run = source.run
        self._dialect = source.dialect
        self._sql = statements(f"{source.dialect.name}_rows.sql")

    def text(self, table: TableSpec, prefix: str = LIVE) -> str:
        """Write the statement that makes a table.

        Raises:
            TableError: A name in it is not allowed.
        """
        check_table(table)
        text = self._sql[f"create_by_{table.key_type}"].replace("{table}", self._dialect.table(prefix, table.name))
        for part, name in (("{columns}", "column"), ("{indexes}", "index")):
            filled = (self._sql[name].replace("{column}", self._dialect.column(field)) for field in table.indexes)
            text = text.replace(part, "".join(filled))
        return text

    def make(self, table: TableSpec, prefix: str = LIVE) -> None:
        """Make a table.

        Raises:
            TableError: A name in it is not allowed.
        """
        self._run(self.text(table, prefix))
        if "note" in self._sql:
            note = self._sql["note"].replace("{text}", self.text(table).replace("'", "''"))
            self._run(note.replace("{table}", self._dialect.table(prefix, table.name)))

    def there(self) -> dict[str, str]:
        """Return the names of all tables of the store, each with the text that made it as a live one."""
        return dict(self._run(self._sql["select_texts"]))

    def name(self, table: TableSpec, prefix: str = LIVE) -> str:
        """Name a table in the database."""
        return self._dialect.table(prefix, table.name)

    def drop(self, name: str) -> None:
        """Drop a table by its whole name, if it is there."""
        self._run(self._sql["drop"].replace("{table}", name))

    def drop_one(self, table: TableSpec, prefix: str = LIVE) -> None:
        """Drop a table, if it is there."""
        self.drop(self.name(table, prefix))

    def rename(self, table: TableSpec, old: str, new: str) -> None:
        """Give a table another prefix."""
        text = self._sql["rename"].replace("{old}", self.name(table, old))
        self._run(text.replace("{table}", self.name(table, new)))
