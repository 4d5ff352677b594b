"""A dialect: what a database writes otherwise than others, but for the statements themselves.

Names given to it are checked before: letters, digits and underscores.
"""

from typing import Any, Protocol

from microlith.event_store.tables import Column, TableSpec


class Dialect(Protocol):
    """How one database writes places for values, and names and values of read models.

    Attributes:
        name: Begins the names of its `.sql` files.
    """

    name: str

    def place(self, number: int) -> str:
        """Write the place of a value, by its number in the statement, from 1."""
        ...

    def table(self, prefix: str, name: str) -> str:
        """Name a table of a read model; its texts have it in quotes."""
        ...

    def column(self, field: str) -> str:
        """Name the column that repeats a field of a row; its texts have it in quotes."""
        ...

    def equal(self, column: str, place: str) -> str:
        """Write that a column has a value, which may be none."""
        ...

    def key(self, table: TableSpec, key: Column) -> Any:
        """Write the key of a row as it is stored."""
        ...

    def value(self, value: Column) -> Any:
        """Write a repeated field as it is stored."""
        ...
