"""The history of a simulation: what happened when, and what the checks need to know of it.

The same seed makes the same lines, byte for byte.
"""

import hashlib
from typing import Any

from microlith.envelope import Envelope
from microlith.event_store.protocol import Settlement
from microlith.ids import short_id
from microlith.testing.simulation.loop import VirtualLoop
from microlith.waits import Wait

_LATE = 0.05
"""Seconds by which a timeout may be late."""
_SLACK = 0.1
"""Seconds within which a wait may have missed what was being told."""


class History:
    """What happened in one simulation.

    Attributes:
        lines: One for each fact.
        violations: Which promises were broken, in plain words.
        acknowledged: Envelopes whose senders were told that they are accepted, by message id.
        committed: When each message was committed, by message id, in the order of commits.
        told: When its commit was told of, by message id.
        settled: Each handler and message id (commands: "" and id) that was settled, with the settlement.
        handled: What was handled lately, for the tree: (message id, handler, outcome, error).
        envelopes: Every message that was sent or committed, by message id.
        letters_gone: Handler and message id of the dead letters that were tried again with success, or dropped.
        error: What a scenario or a check raised.
        refused: Whether the store refused or lost a commit: what was under way then is carried on at the next start.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.lines: list[str] = []
        self.violations: list[str] = []
        self.acknowledged: dict[str, Envelope[Any]] = {}
        self.committed: dict[str, float] = {}
        self.told: dict[str, float] = {}
        self.settled: dict[tuple[str, str], Settlement] = {}
        self.handled: list[tuple[str, str, str, str]] = []
        self.envelopes: dict[str, Envelope[Any]] = {}
        self.letters_gone: set[tuple[str, str]] = set()
        self.refused = False
        self.error: BaseException | None = None

    def note(self, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{self._loop.now:12.6f} {text}")

    def violated(self, text: str) -> None:
        """Note that a promise was broken."""
        self.note(f"BROKEN {text}")
        self.violations.append(text)

    def settles(self, settlement: Settlement) -> None:
        """Note a settlement that was committed; each message is settled once by each handler."""
        envelope, handler = settlement.envelope, settlement.handler
        if settlement.letter is not None:
            if settlement.error is None:
                self.letters_gone.add((handler, envelope.message_id))
            return
        key = ("" if settlement.position is None else handler, envelope.message_id)
        if key in self.settled:
            self.violated(f"{named(envelope)} was settled twice by {handler or 'its handler'}.")
        self.settled[key] = settlement

    @property
    def digest(self) -> str:
        """A fingerprint of the lines: equal for equal histories."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    def expired(self, wait: Wait) -> None:
        """Look at a wait that ran out of time: was it late, or had its messages come?"""
        now, deadline = self._loop.now, wait.bucket / 100
        self.note(f"timeout of {'an answer' if wait.key else '/'.join(cls.__name__ for cls in wait.classes)}")
        if now - deadline > _LATE:
            self.violated(f"A wait ended {now - deadline:.3f} s late.")
        if wait.key is not None:
            return
        come = {
            type(self.envelopes[message_id].message)
            for message_id, when in self.told.items()
            if max(when, deadline - wait.timeout) + _SLACK < now
            and self.envelopes[message_id].correlation_id == wait.correlation_id
        }
        wanted = wait.missing
        if wanted and (come.issuperset(wanted) if wait.every else come.intersection(wanted)):
            names = ", ".join(cls.__name__ for cls in wanted)
            self.violated(f"A wait for {names} ran out of time, though it had been delivered.")


def named(envelope: Envelope[Any]) -> str:
    """Name a message by its type and its short id."""
    return f"{type(envelope.message).__name__} {short_id(envelope.message_id)}"
