"""What the event store in memory tells of messages that were put aside: dead letters, and messages for later.

Puts nothing aside itself; the store's commits do.
"""

from microlith.envelope import Envelope
from microlith.event_store.dead_letter import DeadLetter, KeyedLetters
from microlith.event_store.memory_dead_letters import MemoryDeadLetters
from microlith.event_store.memory_schedules import MemorySchedules
from microlith.event_store.schedule import FIRST, Schedule, Turn
from microlith.messages import Message
from microlith.serialization import MessageTypes


class MemoryPutAside:
    """Reads and removes dead letters and schedules."""

    def __init__(self, types: MessageTypes) -> None:
        self._dead_letters = MemoryDeadLetters(types)
        self._schedules = MemorySchedules(types)

    async def failure_of(self, correlation_id: str) -> tuple[str, str, str] | None:
        """Return (handler, message type, error text) of the first dead letter of a correlation."""
        letter = self._dead_letters.first_of(correlation_id)
        return None if letter is None else (letter.handler, letter.type, letter.error)

    async def dead_letters(self, *, after: int = 0, limit: int = 500) -> list[DeadLetter]:
        """Read dead letters in the order of failing."""
        return self._dead_letters.page(after, limit)

    async def dead_letter(self, sequence: int) -> DeadLetter | None:
        """Read one dead letter."""
        return self._dead_letters.get(sequence)

    async def dead_message(self, letter: DeadLetter) -> Envelope[Message]:
        """Read the message of a dead letter."""
        return self._dead_letters.envelope(letter)

    async def keyed_letters(self) -> list[KeyedLetters]:
        """Sum up the dead letters that have a key."""
        return self._dead_letters.keyed()

    async def first_letter(self, handler: str, key: str) -> DeadLetter | None:
        """Read the first dead letter of a handler's key."""
        return self._dead_letters.first_of_key(handler, key)

    async def drop_dead_letter(self, sequence: int) -> bool:
        """Remove a dead letter."""
        return self._dead_letters.drop(sequence)

    async def schedules(self, *, after: Turn = FIRST, limit: int = 500, failed: bool = False) -> list[Schedule]:
        """Read schedules in the order in which they are due, after a turn."""
        return self._schedules.page(after, limit, failed=failed)

    async def schedule(self, message_id: str) -> Schedule | None:
        """Read one schedule."""
        return self._schedules.get(message_id)

    async def due_schedules(self, wall: float, steady: float, *, limit: int = 500) -> list[Schedule]:
        """Read what is due and was not tried in vain, in order."""
        return self._schedules.due(wall, steady, limit)

    async def next_due(self) -> tuple[float, float]:
        """Return when the first is due, by either clock."""
        return self._schedules.next_due()

    async def cancel_schedule(self, message_id: str) -> bool:
        """Remove a schedule."""
        return self._schedules.remove(message_id)

    async def fail_schedule(self, message_id: str, error: str) -> None:
        """Note why a schedule could not be sent."""
        self._schedules.fail(message_id, error)
