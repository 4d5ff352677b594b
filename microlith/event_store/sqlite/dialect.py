"""What SQLite writes otherwise than other databases."""

from microlith.event_store.database.dialect import Dialect
from microlith.event_store.tables import Column, TableSpec


class SQLiteDialect(Dialect):
    """How SQLite writes places and names: as they are. Its columns hold values of any type."""

    name = "sqlite"

    def place(self, number: int) -> str:
        """Write the place of a value: they are taken in order."""
        del number
        return "?"

    def table(self, prefix: str, name: str) -> str:
        """Name a table of a read model."""
        return prefix + name

    def column(self, field: str) -> str:
        """Name the column that repeats a field."""
        return f"by_{field}"

    def equal(self, column: str, place: str) -> str:
        """Write that a column has a value, which may be none."""
        return f"{column} IS {place}"

    def key(self, table: TableSpec, key: Column) -> Column:
        """Write a key."""
        del table
        return key

    def value(self, value: Column) -> Column:
        """Write a repeated field."""
        return value


DIALECT = SQLiteDialect()
