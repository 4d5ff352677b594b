"""What becomes of dead letters that were tried again: a part of a batch.

Begins and ends no transaction.
"""

from time import time

from microlith.event_store.database.session import Session
from microlith.event_store.records import MICROSECONDS


class LetterPlan:
    """What a batch does to dead letters that were tried again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._removed: set[int] = set()
        self._failed: dict[int, tuple[str, int]] = {}

    def is_gone(self, sequence: int) -> bool:
        """Tell whether a letter is no longer there."""
        return sequence in self._removed or not self._session.named("select_dead_letter", sequence)

    def remove(self, sequence: int) -> None:
        """Plan to remove a letter: it was tried again, and that went well."""
        self._removed.add(sequence)

    def fail_again(self, sequence: int, error: str, attempts: int) -> None:
        """Plan to note how a letter failed again."""
        self._failed[sequence] = error, attempts

    def write(self) -> None:
        """Write the plan, in the transaction of its batch."""
        named = self._session.named
        for sequence in self._removed:
            named("forget_buried", "handled", sequence)
            named("delete_dead_letter", sequence)
        for sequence, (error, attempts) in self._failed.items():
            named("update_dead_letter", error, attempts, round(time() * MICROSECONDS), sequence)
            named("park_behind", sequence)
