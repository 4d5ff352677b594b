"""What a process holds of one partition while it is assigned to it: what is out, what is settled, what may be committed.

Only the offset below which everything is settled is ever committed, so that nothing unsettled is passed over; what was
settled above it is remembered, and told with the commit.

Source: the contiguous prefix of settled offsets, as in Confluent's parallel consumer.
"""

from collections import deque
from collections.abc import Iterable


class Claim:
    """One partition, from its assignment until it is given up. Lives on the loop; the reader's thread looks at `done`.

    Attributes:
        number: Which partition.
        seen: Everything below this offset may have been handed out before.
        next: The offset that the reader takes next. Belongs to the reader's thread.
        done: Everything below this offset is settled.
        settled: What is settled above it.
        changes: How often something was settled.
    """

    __slots__ = ("_end", "_out", "changes", "done", "next", "number", "seen", "settled")

    def __init__(self, number: int, start: int, seen: int) -> None:
        self.number = number
        self.seen = seen
        self.next = start
        self.done = start
        self.changes = 0
        self._end = start
        self._out: deque[int] = deque()
        self.settled: set[int] = set()

    def remember(self, done: int, settled: Iterable[int]) -> None:
        """Take over what is known to be settled. Before anything is taken in."""
        self.next = self.done = self._end = max(self.done, done)
        self.settled = {offset for offset in (*self.settled, *settled) if offset >= self.done}

    @property
    def out(self) -> bool:
        """Whether something was taken in and is not settled."""
        return bool(self._out)

    @property
    def untouched(self) -> bool:
        """Whether nothing from `done` on was ever handed out, by this process or by one before it."""
        return not self._out and self.done >= self.seen

    @property
    def ahead(self) -> int:
        """How many offsets are settled above one that is not."""
        return len(self.settled)

    def take_in(self, offset: int) -> bool:
        """Note that an offset is out, and tell whether it is to be handed out; else it was settled before."""
        self._out.append(offset)
        self._end = offset + 1
        if offset in self.settled:
            self._advance()
            return False
        return True

    def settle(self, offset: int) -> None:
        """Note that an offset is settled."""
        if offset < self.done:
            return
        self.changes += 1
        if offset > self.done or not self._out:
            self.settled.add(offset)
            return
        self._out.popleft()  # the first that is out
        self._advance()

    def put_back(self, offset: int) -> None:
        """Note that an offset, and all above it, were not handed out after all."""
        while self._out and self._out[-1] >= offset:
            self._out.pop()
        self._end = min(self._end, offset)
        self._advance()

    def _advance(self) -> None:
        while self._out and self._out[0] in self.settled:
            self.settled.remove(self._out.popleft())
        self.done = self._out[0] if self._out else self._end
