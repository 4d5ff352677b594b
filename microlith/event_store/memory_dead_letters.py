"""The dead letters of the event store in memory.

Found by sequence, by correlation and by key; in a page they are searched for.

Keeps the envelopes; decodes nothing.
"""

from time import time
from typing import Any

from microlith.envelope import Envelope
from microlith.event_store.dead_letter import DeadLetter, KeyedLetters
from microlith.event_store.protocol import Settlement
from microlith.serialization import MessageTypes


class MemoryDeadLetters:
    """Dead letters in the order of failing."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._letters: dict[int, tuple[DeadLetter, Envelope[Any]]] = {}
        # Sequences, in order. A dictionary finds one to remove at once, and does not change the order.
        self._of_correlation: dict[str, dict[int, None]] = {}
        self._of_key: dict[tuple[str, str], dict[int, None]] = {}
        self._sequence = 0

    def page(self, after: int, limit: int) -> list[DeadLetter]:
        """Return letters after a sequence number."""
        return [letter for letter, _ in self._letters.values() if letter.sequence > after][:limit]

    def get(self, sequence: int) -> DeadLetter | None:
        """Return one letter."""
        found = self._letters.get(sequence)
        return None if found is None else found[0]

    def envelope(self, letter: DeadLetter) -> Envelope[Any]:
        """Return the message of a letter that is still there."""
        return self._letters[letter.sequence][1]

    def drop(self, sequence: int) -> bool:
        """Remove a letter; tell whether there was one."""
        found = self._letters.pop(sequence, None)
        if found is None:
            return False
        letter = found[0]
        _forget(self._of_correlation, letter.correlation_id, sequence)
        if letter.key is not None:
            _forget(self._of_key, (letter.handler, letter.key), sequence)
        return True

    def first_of(self, correlation_id: str) -> DeadLetter | None:
        """Return the first letter of a correlation."""
        sequences = self._of_correlation.get(correlation_id)
        return None if sequences is None else self.get(next(iter(sequences)))

    def first_of_key(self, handler: str, key: str) -> DeadLetter | None:
        """Return the first letter of a handler's key."""
        sequences = self._of_key.get((handler, key))
        return None if sequences is None else self.get(next(iter(sequences)))

    def keyed(self) -> list[KeyedLetters]:
        """Sum up the letters that have a key."""
        summed = []
        for (handler, key), sequences in self._of_key.items():
            first = self._letters[next(iter(sequences))][0]
            summed.append(KeyedLetters(handler, key, len(sequences), first.sequence, first.behind is not None))
        return summed

    def bury(self, settlement: Settlement, error: str) -> None:
        """Add a letter."""
        envelope = settlement.envelope
        entry = self._types.of(type(envelope.message))
        self._sequence += 1
        letter = DeadLetter(
            self._sequence,
            settlement.handler,
            settlement.position,
            envelope.message_id,
            envelope.correlation_id,
            entry.component,
            entry.name,
            self._types.encode(envelope.message, envelope.message_id),
            error,
            settlement.attempts,
            time(),
            settlement.key,
        )
        if settlement.parked and settlement.key is not None:
            head = self.first_of_key(settlement.handler, settlement.key)
            letter = letter.parked_behind(0 if head is None else head.sequence)
        self._letters[letter.sequence] = letter, envelope
        self._of_correlation.setdefault(letter.correlation_id, {})[letter.sequence] = None
        if letter.key is not None:
            self._of_key.setdefault((letter.handler, letter.key), {})[letter.sequence] = None

    def read_again(self) -> None:
        """Take the messages anew from their bytes: personal fields may have been erased."""
        for sequence, (letter, envelope) in self._letters.items():
            if self._types.of(type(envelope.message)).personal:
                version = type(envelope.message).__version__
                message = self._types.decode(
                    letter.component, letter.type, version, letter.data, message_id=letter.message_id
                )
                self._letters[sequence] = letter, envelope.holding(message)

    def settle(self, sequence: int, settlement: Settlement) -> None:
        """Remove a letter that was tried again with success; otherwise note how it failed."""
        if settlement.error is None:
            self.drop(sequence)
            return
        old, envelope = self._letters[sequence]
        self._letters[sequence] = old.failed_again(settlement.error, settlement.attempts, time()), envelope
        for later in self._of_key.get((old.handler, old.key), ()) if old.key is not None else ():
            letter, sent = self._letters[later]
            if letter.behind is not None and later > sequence:
                self._letters[later] = letter.parked_behind(sequence), sent


def _forget(index: dict[Any, dict[int, None]], key: Any, sequence: int) -> None:
    del index[key][sequence]
    if not index[key]:
        del index[key]
