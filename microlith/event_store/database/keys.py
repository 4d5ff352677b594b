"""Keys of subjects in a database, apart from the events: what every database does with them in the same way.

The events know which keys are their own, and go on with no others.

Opens no connection.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from microlith.errors import StoreError
from microlith.privacy.keys import KeyRow, KeysInMemory

TABLES = frozenset({"meta", "keys", "destroyed"})
FORMAT = b"1"


class KeysLostError(StoreError):
    """The keys of the personal fields in a store are not there."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(
            f"The keys of the personal fields cannot be used: {where} {problem}.",
            hint="Restore it from a backup. Without it every personal field would read as erased.",
        )


class Ask(Protocol):
    """Runs a statement of the file about keys, and returns its rows."""

    def __call__(self, name: str, /, *values: object) -> list[tuple[Any, ...]]:
        """Run it."""
        ...


class DatabaseKeys(ABC):
    """Where the keys of one store are kept.

    Attributes:
        id: Tells these keys from any others.
        pepper: Makes subjects into tags.
    """

    id: bytes
    pepper: bytes

    def by_tag(self, tag: bytes) -> KeyRow | None:
        """Find the key of a subject."""
        found = self._ask("select_by_tag", tag)
        return KeyRow(*found[0]) if found else None

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        found = self._ask("select_by_id", key_id)
        return KeyRow(*found[0]) if found else None

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether a key was destroyed."""
        return bool(self._ask("select_destroyed", key_id))

    def keep(self, rows: Sequence[KeyRow]) -> None:
        """Keep new keys; they are on the disk when this returns. What is not kept, or perhaps not, is an error."""

        def work(ask: Ask) -> None:
            for row in rows:
                ask("insert_key", *row)

        self._transact(work)

    def destroy(self, tags: Collection[bytes]) -> None:
        """Destroy keys, and note that an erasure is unfinished.

        Raises:
            StoreUnavailableError: They are destroyed, and copies of them are left; or they are not.
        """

        def work(ask: Ask) -> None:
            for tag in tags:
                ask("insert_destroyed", tag)
                ask("delete_key", tag)
            ask("insert_meta", "unfinished", b"1")

        self._transact(work)
        self.cut_off()

    def finish(self) -> None:
        """Note that no erasure is unfinished."""
        self.cut_off()  # of one that was interrupted, a key may still lie where it was deleted
        self._transact(lambda ask: ask("delete_meta", "unfinished"))
        self.cut_off()

    @property
    def unfinished(self) -> bool:
        """Whether an erasure was begun and not finished."""
        return bool(self._ask("select_meta", "unfinished"))

    @abstractmethod
    def cut_off(self) -> None:
        """Leave no copy of what was deleted, as far as the database can help it.

        Raises:
            StoreUnavailableError: Something else is in the way.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Let go. Safe to call twice."""
        ...

    @abstractmethod
    def _ask(self, name: str, /, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement."""
        ...

    @abstractmethod
    def _transact(self, work: Callable[[Ask], object]) -> None:
        """Do something in one transaction."""
        ...

    def _identify(self, where: str, expected: bytes | None) -> None:
        """Read which keys these are.

        Raises:
            KeysLostError: Others than were expected, or of a newer version.
        """
        found = self._ask("select_meta", "format")
        if not found or found[0][0] != FORMAT:
            raise KeysLostError(where, "was made by a newer version of microlith")
        self.id = self._ask("select_meta", "id")[0][0]
        self.pepper = self._ask("select_meta", "pepper")[0][0]
        if expected is not None and self.id != expected:
            raise KeysLostError(where, "belongs to other events")


def identity() -> list[tuple[str, bytes]]:
    """Make what new keys are known by: names and values for `meta`."""
    return [("format", FORMAT), ("id", os.urandom(16)), ("pepper", os.urandom(32))]


class KeysAtRest(KeysInMemory, ABC):
    """The keys of a store that is not open, only read. New ones are not kept."""

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        found = self._find("select_by_id", key_id)
        return KeyRow(*found[0]) if found else None

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether a key was destroyed."""
        return bool(self._find("select_destroyed", key_id))

    @abstractmethod
    def close(self) -> None:
        """Let go. Safe to call twice."""
        ...

    @abstractmethod
    def _find(self, name: str, key_id: bytes) -> list[tuple[bytes, ...]]: ...
