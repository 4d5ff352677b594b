"""Between a reader's thread and whoever takes arrivals on the loop: what waits, and how much room there is.

The thread asks for room and puts items in; everything else happens on the loop, so that nothing here needs a lock.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from confluent_kafka import Message

from microlith.transports.kafka.claims import Claim
from microlith.transports.protocol import Parcel

Record = tuple[Claim, Message, int]
"""A record that was read: of which partition, what, and its offset."""


class Arriving:
    """A parcel that has come from Kafka.

    Attributes:
        parcel: What has come.
        again: Whether it may have come before.
        message: The record that it was read from.
        claim: What it came under.
        intake: Where it waited.
        over: Whether it was settled, refused or taken back.
    """

    __slots__ = ("again", "claim", "intake", "message", "offset", "over", "parcel")

    def __init__(
        self, parcel: Parcel, message: Message, claim: Claim, offset: int, intake: "Intake", *, again: bool
    ) -> None:
        self.parcel = parcel
        self.message = message
        self.offset = offset
        self.again = again
        self.over = False
        self.claim = claim
        self.intake = intake

    def settle(self) -> None:
        """Note that it is done with."""
        if not self.over:
            self.over = True
            self.intake.settle(self)

    def refuse(self, reason: str) -> None:
        """Have it put aside; it is settled once that is done."""
        if not self.over:
            self.over = True
            self.intake.put_aside(self, reason)


class Intake:
    """What one reader has read and nobody has settled.

    Args:
        limit: How many arrivals may be unsettled at a time.
        read: What makes a parcel of a record; None for one that nobody wants, which counts as settled.
        put_aside: What is done with one that is refused; it settles it.
        settles: Whether arrivals are settled; else each is done with as soon as it is handed out.
    """

    def __init__(
        self,
        limit: int,
        read: Callable[[Message], Parcel | None],
        put_aside: Callable[[Arriving, str], None],
        *,
        settles: bool,
    ) -> None:
        self.put_aside = put_aside
        self._read = read
        self._limit = limit
        self._settles = settles
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Arriving] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._draining: list[tuple[Collection[Claim], threading.Event]] = []
        # Each of the two is counted by one side and read by the other.
        self._taken = 0
        self._back = 0
        self._hungry = False
        self._fed = threading.Event()

    async def more(self) -> bool:
        """Wait until something waits to be handed out; False once nothing more will."""
        while not self._waiting:
            if self._closed:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def pop(self) -> Arriving | None:
        """Hand out the next one, if one waits."""
        if not self._waiting:
            return None
        if not self._settles:
            self._give_back(1)
        return self._waiting.popleft()

    def settle(self, arriving: Arriving) -> None:
        """Note that an arrival is settled."""
        if self._settles:
            arriving.claim.settle(arriving.offset)
            self._give_back(1)
            if self._draining:
                self._look_at_draining()

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True
        self._drop(self._waiting)
        self._news.set()

    # On the reader's thread.

    @property
    def room(self) -> int:
        """How many more items may be put in."""
        return self._limit - self._taken + self._back

    def wait_for_room(self, seconds: float) -> None:
        """Wait until there is some room to speak of, a short time at most."""
        self._fed.clear()
        self._hungry = True
        if self.room <= 0:
            self._fed.wait(seconds)
        self._hungry = False

    def put(self, records: Sequence[Record]) -> None:
        """Hand over what was read, a partition's records in order."""
        self._taken += len(records)
        self._call(self._accept, records)

    def give_up(self, claims: Collection[Claim], seconds: float) -> None:
        """Take back what was not handed out of some claims, and wait until the rest is settled, a limited time."""
        drained = threading.Event()
        if self._call(self._start_draining, claims, drained):
            drained.wait(seconds)
            self._call(self._stop_draining, drained)

    # On the loop.

    def _accept(self, records: Sequence[Record]) -> None:
        if self._closed:
            self._give_back(len(records))
            return
        passed_over = 0
        for claim, message, offset in records:
            parcel = self._read(message)
            if parcel is None:
                claim.take_in(offset)
                claim.settle(offset)
                passed_over += 1
            elif not self._settles or claim.take_in(offset):
                self._waiting.append(Arriving(parcel, message, claim, offset, self, again=offset < claim.seen))
            else:
                passed_over += 1
        if passed_over:
            self._give_back(passed_over)
        self._news.set()

    def _start_draining(self, claims: Collection[Claim], drained: threading.Event) -> None:
        self._drop([arriving for arriving in self._waiting if arriving.claim in claims])
        self._draining.append((claims, drained))
        self._look_at_draining()

    def _stop_draining(self, drained: threading.Event) -> None:
        self._draining = [entry for entry in self._draining if entry[1] is not drained]

    def _drop(self, arrivals: Collection[Arriving]) -> None:
        """Take back arrivals that wait: the last of their claims, in order."""
        dropped = list(arrivals)
        for arriving in reversed(dropped):
            arriving.claim.put_back(arriving.offset)
            arriving.over = True
        kept = [arriving for arriving in self._waiting if not arriving.over]
        self._waiting.clear()
        self._waiting.extend(kept)
        self._give_back(len(dropped))

    def _look_at_draining(self) -> None:
        for claims, drained in self._draining:
            if not any(claim.out for claim in claims):
                drained.set()

    def _give_back(self, items: int) -> None:
        self._back += items
        if self._hungry and self.room * 4 >= self._limit:
            self._fed.set()

    def _call(self, function: Callable[..., object], *arguments: object) -> bool:
        with suppress(RuntimeError):  # the loop is closed, and with it everything that was out
            self._loop.call_soon_threadsafe(function, *arguments)
            return True
        return False
