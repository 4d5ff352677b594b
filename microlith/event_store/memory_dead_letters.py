"""The dead letters of the event store in memory.

They are few: what is asked for is searched for, and nothing is indexed but the sequence.

Keeps the envelopes; decodes nothing.
"""

from time import time
from typing import Any

from microlith.envelope import Envelope
from microlith.event_store.dead_letter import DeadLetter
from microlith.event_store.protocol import Settlement
from microlith.serialization import MessageTypes


class MemoryDeadLetters:
    """Dead letters in the order of failing."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._letters: dict[int, tuple[DeadLetter, Envelope[Any]]] = {}
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
        return self._letters.pop(sequence, None) is not None

    def first_of(self, correlation_id: str) -> DeadLetter | None:
        """Return the first letter of a correlation."""
        return next((one for one, _ in self._letters.values() if one.correlation_id == correlation_id), None)

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
        )
        self._letters[letter.sequence] = letter, envelope

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
