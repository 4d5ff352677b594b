"""Looking into a store that is not open, without changing it.

Every connection only reads. What the next `open` would catch up, forget or register stays as it is.

Mends nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from microlith.event_store.database.codec import ChainCheck, StoredTypes
from microlith.event_store.database.dialect import Dialect
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.snapshots import check
from microlith.event_store.database.statements import statements
from microlith.event_store.snapshot import SnapshotCheck
from microlith.serialization import MessageTypes

_PAGE = 1000


class Standing(NamedTuple):
    """Where a projection stands; `error` says why it stopped, None that it runs."""

    name: str
    checkpoint: int
    error: str | None


class Inspection(ABC):
    """Reads from a store. A context manager.

    Attributes:
        dialect: The dialect of its database.
        head: Last global position; -1 for an empty log.
        projections: Where each one stands.
        dead_letters: How many there are.
    """

    dialect: Dialect
    head = -1
    dead_letters = 0

    def __init__(self) -> None:
        self.projections: list[Standing] = []
        self._sql = statements(f"{self.dialect.name}_reading.sql")

    @abstractmethod
    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows.

        Raises:
            StoreError: It cannot be run; says why.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Let go. Safe to call twice."""
        ...

    def verify(self, types: MessageTypes, progress: Callable[[int, int], None]) -> int:
        """Walk the whole log, as the store's own `verify` does; return how many events there are.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        count = 0
        for count in self.verifying(types):
            progress(count, self.head + 1)
        return count

    def verifying(self, types: MessageTypes) -> Iterator[int]:
        """Walk the whole log, and yield after each page how many events were right so far.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        if self.head < 0:
            return
        reader, chain = self.reader(types), ChainCheck()
        while reader.check_chain(chain, _PAGE):
            yield chain.position + 1
        reader.check_structure()

    def reader(self, types: MessageTypes) -> LogReader:
        """Return what reads the log; not for an empty one, which may have no tables."""
        numbered = StoredTypes(self.run(self._sql["select_types"]), types)
        return LogReader(self, numbered, types, lambda: self.head)

    def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot."""
        return check(self)

    def event_after(self, position: int) -> tuple[str, float] | None:
        """Return type and time of the event after a position; None when there is none."""
        found = self.run(self._sql["select_type_and_time"], (position,))
        return (str(found[0][0]), float(found[0][1])) if found else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _look(self) -> None:
        self.head = int(self.run(self._sql["select_last_position"])[0][0])
        self.projections = [Standing(*row) for row in self.run(self._sql["select_standings"])]
        self.dead_letters = int(self.run(self._sql["count_dead_letters"])[0][0])
