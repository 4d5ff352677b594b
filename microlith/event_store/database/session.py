"""The writing connection, as those see it who plan and write: statements, and transactions that end in one of three ways.

Done; certainly not done; unknown. Which it was is said once, by the session of the database.

Belongs to the writer's thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from microlith.errors import StoreError
from microlith.event_store.database.dialect import Dialect
from microlith.event_store.database.statements import statements

T = TypeVar("T")

MOST_ROWS = 256
"""Rows that one statement inserts at most."""


class WriteFailed(Exception):  # noqa: N818 (internal: carries an error across the writer's thread)
    """A transaction did not happen, or perhaps did.

    Attributes:
        error: What to tell whoever handed in the messages.
        usable: Whether the connection may write again.
        away: Whether it can do so only later: the database is away, and certainly nothing happened.
    """

    def __init__(self, error: StoreError, *, usable: bool, away: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.usable = usable
        self.away = away


class ValueRefused(Exception):  # noqa: N818 (internal, as above)
    """The database refused a value, such as an id that is there already; the transaction was rolled back."""


class Source(Protocol):
    """Something that statements are asked of: a session, or what lends connections to readers."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of its database."""
        ...

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        ...


class Session(ABC):
    """The one connection that writes.

    Attributes:
        dialect: The dialect of its database.
        before: Done before each transaction, such as keeping new keys; None: nothing.
        is_far: Whether each question costs a round trip over a network.
    """

    dialect: Dialect
    is_far = False

    def __init__(self) -> None:
        self.before: Callable[[], None] | None = None
        self._sql = statements(f"{self.dialect.name}_writing.sql")
        self._filled: dict[tuple[str, int], str] = {}

    @abstractmethod
    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        ...

    def named(self, name: str, *values: Any) -> list[Any]:
        """Run a statement of the file for writing and return its rows."""
        return self.run(self._sql[name], values)

    def insert(self, name: str, values: list[Any], columns: int) -> None:
        """Insert many rows, given as one flat list, in as few statements as possible.

        The number of rows in a statement is a power of two, so that few statements are ever prepared.
        """
        start, left = 0, len(values) // columns
        while left:
            rows = min(MOST_ROWS, 1 << left.bit_length() - 1)
            end = start + rows * columns
            text = self._filled.get((name, rows)) or self._fill(name, rows, columns)
            self.run(text, values[start:end])
            start, left = end, left - rows

    @abstractmethod
    def transact(self, work: Callable[[], T], *, once: bool = False) -> T:
        """Do something in one transaction.

        Args:
            work: Changes nothing but the database, or else begins anew when it is called again: a database that went
                away is asked again when it is back.
            once: It cannot be called again.

        Raises:
            WriteFailed: It was rolled back, or its commit went wrong.
            ValueRefused: A value was; it was rolled back.
            Exception: Whatever `work` raised; it was rolled back.
        """
        ...

    def ends_at(self, head: int, sequence: int, checksum: bytes) -> None:  # noqa: B027 (nothing to do is right for most)
        """Take note of where the log ends with what the transaction has written."""

    @abstractmethod
    def press(self, durability: Literal["durable", "fast"]) -> None:
        """Set how hard the next commits are pressed onto the disk."""
        ...

    def confirm(self) -> None:  # noqa: B027 (nothing to do is right where each statement is waited for)
        """Wait until all that was sent has been done; raise what went wrong."""

    @abstractmethod
    def attempt(self, work: Callable[[], None]) -> None:
        """Do something within a transaction that the database may refuse; the transaction goes on without it then.

        Raises:
            ValueRefused: It was refused.
        """
        ...

    @abstractmethod
    def is_broken_by(self, error: Exception) -> bool:
        """Tell the database's own failures from those of an author's code, such as a value it cannot hold."""
        ...

    def _fill(self, name: str, rows: int, columns: int) -> str:
        """Fill in `{rows}`: so many groups of so many values."""
        places = [self.dialect.place(number) for number in range(1, rows * columns + 1)]
        groups = (f"({', '.join(places[first : first + columns])})" for first in range(0, len(places), columns))
        text = self._filled[name, rows] = self._sql[name].replace("{rows}", ", ".join(groups))
        return text
