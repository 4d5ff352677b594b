"""What PostgreSQL writes otherwise than other databases."""

import json
from hashlib import blake2b

from microlith.event_store.database.dialect import Dialect
from microlith.event_store.tables import Column, Key, TableSpec

_LONGEST_NAME = 63
_LONGEST_VALUE = 300
_DIGEST_BYTES = 16
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


class PostgresDialect(Dialect):
    """How PostgreSQL writes places and names. Its columns have one type each: repeated fields are kept as JSON."""

    name = "postgres"

    def place(self, number: int) -> str:
        """Write the place of a value."""
        return f"${number}"

    def table(self, prefix: str, name: str) -> str:
        """Name a table of a read model; the server would cut a long name off without a word."""
        return _fitting(prefix, name)

    def column(self, field: str) -> str:
        """Name the column that repeats a field."""
        return _fitting("by_", field)

    def equal(self, column: str, place: str) -> str:
        """Write that a column has a value."""
        return f"{column} = {place}"

    def key(self, table: TableSpec, key: Column) -> Key | None:
        """Write a key; None for one that no row can have."""
        if table.key_type == "text":
            return key if isinstance(key, str) and "\0" not in key else None
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        return int(key) if isinstance(key, int) and _LEAST <= key <= _MOST else None

    def value(self, value: Column) -> str:
        """Write a repeated field: as JSON, 1 for 1.0 and True. Only whether two are equal counts, so a long one is cut."""
        if isinstance(value, float) and value != value:  # noqa: PLR0124 (not a number)
            value = None
        elif isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            value = int(value)
        text = json.dumps(value, ensure_ascii=False)
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()
        if len(text) <= _LONGEST_VALUE:
            return text
        return text[:100] + blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _fitting(prefix: str, name: str) -> str:
    if len(prefix) + len(name) <= _LONGEST_NAME:
        return prefix + name
    digest = blake2b(name.encode(), digest_size=5).hexdigest()
    return f"{prefix}{name[: _LONGEST_NAME - len(prefix) - len(digest) - 1]}_{digest}"


DIALECT = PostgresDialect()
