"""Tables of read models: their shape, and how rows are read and written.

A row is JSON bytes under a key, with some of its fields repeated as columns to find it by.

Knows no events and no projections, and no way of storing rows.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal, Protocol

from microlith.errors import StoreError

KeyType = Literal["text", "integer"]
Key = str | int
Column = str | int | float | bool | None

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


class TableError(StoreError):
    """A table cannot be made, or not be asked in this way."""

    def __init__(self, table: str, problem: str, *, hint: str) -> None:
        super().__init__(f"Read-model table {table!r}: {problem}.", hint=hint)


class TableSpec:
    """Shape of one read-model table.

    Attributes:
        name: Unique in the store: letters, digits and underscores.
        key: Field that identifies a row.
        key_type: Its type.
        indexes: Fields that rows are found by, besides the key.
    """

    __slots__ = ("indexes", "key", "key_type", "name")

    def __init__(self, name: str, key: str, key_type: KeyType, indexes: tuple[str, ...] = ()) -> None:
        self.name = name
        self.key = key
        self.key_type = key_type
        self.indexes = indexes


class RowReader(Protocol):
    """Reads rows, as JSON, of read-model tables."""

    def get(self, table: TableSpec, key: Key) -> bytes | None:
        """Return the row of this key, or None."""
        ...

    def find(self, table: TableSpec, equal: Mapping[str, Column], limit: int) -> list[bytes]:
        """Return up to `limit` rows whose indexed columns (or key) equal the given values, by key."""
        ...

    def count(self, table: TableSpec, equal: Mapping[str, Column]) -> int:
        """Count the rows that `find` would return without a limit."""
        ...


class RowWriter(RowReader, Protocol):
    """Reads and writes rows within the transaction of the event being applied; sees its own writes."""

    def put(self, table: TableSpec, key: Key, data: bytes, columns: Mapping[str, Column]) -> None:
        """Insert or replace a row; `columns` holds the indexed fields."""
        ...

    def delete(self, table: TableSpec, key: Key) -> bool:
        """Delete a row; tell whether there was one."""
        ...


def check_table(table: TableSpec) -> None:
    """Refuse a table whose names could mean something to a database.

    Raises:
        TableError: Names the first bad name.
    """
    for name in (table.name, table.key, *table.indexes):
        if not _NAME.fullmatch(name):
            raise TableError(
                table.name,
                f"{name!r} cannot be a name",
                hint="Names start with a letter and hold at most 63 letters, digits and underscores.",
            )


def check_asked(table: TableSpec, equal: Mapping[str, Column]) -> None:
    """Refuse to find rows by a field that is not indexed.

    Raises:
        TableError: Names the field and the indexed ones.
    """
    for field in equal:
        if field != table.key and field not in table.indexes:
            raise TableError(
                table.name,
                f"rows cannot be found by {field!r}",
                hint=f"Its key is {table.key!r}; name {field!r} in `indexes` to find rows by it.",
            )


def digest_of(tables: Iterable[tuple[TableSpec, Iterable[tuple[Key, bytes]]]]) -> str:
    """Digest the rows of tables, given by key in order: equal rows, equal digest."""
    digest = sha256()
    for table, rows in tables:
        digest.update(f"{table.name}\n".encode())
        for key, row in rows:
            digest.update(b"%d %d\n" % (len(str(key).encode()), len(row)))
            digest.update(str(key).encode())
            digest.update(row)
    return digest.hexdigest()
