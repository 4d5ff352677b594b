"""From the loop to the writer's thread: what is put in during one turn of the loop is handed over at its end.

So the thread gets many writes at once and works while the loop waits for news, instead of both taking turns at
Python's lock. Items that nobody waits for gather for a few milliseconds.

Bounds nothing; `waiting` lets the caller refuse.
"""

import asyncio
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")

PATIENCE_SECONDS = 0.004


class HandOver(Generic[Item]):
    """A queue from one loop to one thread, in the order of the calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gathered: list[Item] = []
        self._soon = False
        self._later: asyncio.TimerHandle | None = None
        self._queue: SimpleQueue[list[Item]] = SimpleQueue()
        self._handed = 0
        self._taken = 0

    @property
    def waiting(self) -> int:
        """How many items the thread has not taken yet."""
        return len(self._gathered) + self._handed - self._taken

    def put(self, item: Item) -> None:
        """Put an item in; it is handed over when the loop has finished this turn."""
        self._gathered.append(item)
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self.hand_over)

    def put_patiently(self, item: Item) -> None:
        """Put in an item that nobody waits for; it is handed over with others, or after a few milliseconds."""
        self._gathered.append(item)
        if not self._soon and self._later is None:
            self._later = self._loop.call_later(PATIENCE_SECONDS, self.hand_over)

    def put_at_once(self, item: Item) -> None:
        """Hand an item over now, with all before it."""
        self._gathered.append(item)
        self.hand_over()

    def hand_over(self) -> None:
        """Hand over what has gathered."""
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._handed += len(gathered)
            self._queue.put(gathered)

    def take(self, seconds: float | None = None) -> list[Item]:
        """Wait for items, at most so long, and take all there are. On the thread."""
        try:
            taken = self._queue.get(timeout=seconds)
        except Empty:
            return []
        return taken + self.take_left_over()

    def take_left_over(self) -> list[Item]:
        """Take what there is without waiting."""
        taken: list[Item] = []
        try:
            while True:
                taken += self._queue.get_nowait()
        except Empty:
            return taken

    def note_taken(self, items: int) -> None:
        """Note that so many items are no longer waiting. On the thread."""
        self._taken += items
