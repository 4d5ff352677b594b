"""Rows of read models in dictionaries, with an index for each indexed field.

Changes can be taken back as far as a mark, which is how one failing event is undone.

Lives as long as its process.
"""

from collections.abc import Iterator, Mapping, Sequence

from microlith.event_store.tables import Column, Key, TableSpec, check_asked, check_table

Row = tuple[bytes, dict[str, Column]]


class MemoryTable:
    """The rows of one table."""

    __slots__ = ("_indexes", "_rows", "_spec")

    def __init__(self, spec: TableSpec) -> None:
        check_table(spec)
        self._spec = spec
        self._rows: dict[Key, Row] = {}
        self._indexes: dict[str, dict[Column, set[Key]]] = {field: {} for field in spec.indexes}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Row | None:
        """Return a row with its columns."""
        return self._rows.get(key)

    def set(self, key: Key, row: Row | None) -> Row | None:
        """Put a row, or delete it for None; return what was there."""
        old = self._rows.get(key)
        if old is not None:
            for field, index in self._indexes.items():
                keys = index[old[1].get(field)]
                keys.discard(key)
                if not keys:
                    del index[old[1].get(field)]
            del self._rows[key]
        if row is not None:
            self._rows[key] = row
            for field, index in self._indexes.items():
                index.setdefault(row[1].get(field), set()).add(key)
        return old

    def matching(self, equal: Mapping[str, Column]) -> list[Key]:
        """Return the keys of the rows that match, in order."""
        check_asked(self._spec, equal)
        keys: set[Key] | None = None
        for field, value in equal.items():
            if field == self._spec.key:
                found = {key for key in (value,) if isinstance(key, str | int) and key in self._rows}
            else:
                found = self._indexes[field].get(value, set())
            keys = found if keys is None else keys & found
        return sorted(self._rows if keys is None else keys)

    def ordered(self) -> Iterator[tuple[Key, bytes]]:
        """Yield keys and rows by key."""
        for key in self.matching({}):
            yield key, self._rows[key][0]


class MemoryRows:
    """The rows of several tables; a RowWriter."""

    def __init__(self, tables: Sequence[TableSpec]) -> None:
        self.tables = {spec.name: MemoryTable(spec) for spec in tables}
        self._undo: list[tuple[MemoryTable, Key, Row | None]] = []

    def get(self, table: TableSpec, key: Key) -> bytes | None:
        """Return the row of this key, or None."""
        row = self.tables[table.name].get(key)
        return None if row is None else row[0]

    def find(self, table: TableSpec, equal: Mapping[str, Column], limit: int) -> list[bytes]:
        """Return up to `limit` rows that match, by key."""
        found = self.tables[table.name]
        return [row[0] for key in found.matching(equal)[:limit] if (row := found.get(key)) is not None]

    def count(self, table: TableSpec, equal: Mapping[str, Column]) -> int:
        """Count the rows that match."""
        found = self.tables[table.name]
        return len(found.matching(equal)) if equal else len(found)

    def put(self, table: TableSpec, key: Key, data: bytes, columns: Mapping[str, Column]) -> None:
        """Insert or replace a row."""
        found = self.tables[table.name]
        self._undo.append((found, key, found.set(key, (data, dict(columns)))))

    def delete(self, table: TableSpec, key: Key) -> bool:
        """Delete a row; tell whether there was one."""
        found = self.tables[table.name]
        old = found.set(key, None)
        if old is not None:
            self._undo.append((found, key, old))
        return old is not None

    def keep(self) -> None:
        """Keep what was changed since the last call."""
        self._undo.clear()

    def take_back(self) -> None:
        """Undo what was changed since the last `keep`."""
        while self._undo:
            table, key, row = self._undo.pop()
            table.set(key, row)
