"""Takes parcels from a queue, over one channel after the other, and tells the broker what was settled."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiormq import Channel, spec
from aiormq.abc import DeliveredMessage

from microlith.transports.errors import TopologyDriftError, TransportUnavailableError
from microlith.transports.protocol import Parcel
from microlith.transports.rabbitmq.line import Connected, Line, end_task, is_loss, overlooking_loss, text_of
from microlith.transports.rabbitmq.packing import unpack

logger = logging.getLogger("microlith.transports")

_PATIENCE = 5.0
"""Seconds in which the broker is told of what was settled when all is closed."""
_PAUSE, _LONGEST_PAUSE = 0.05, 3.0
"""Seconds between two tries on a connection that is there, when the channel was closed."""

PutAside = Callable[[str, Parcel, str], Awaitable[None]]
"""Keeps a parcel from a queue, with the reason, where people find it."""


class Arrival:
    """A parcel that has come over a channel."""

    __slots__ = ("_hand", "_tag", "again", "parcel")

    def __init__(self, hand: "_Hand", tag: int, parcel: Parcel, *, again: bool) -> None:
        self.parcel = parcel
        self.again = again
        self._hand = hand
        self._tag = tag

    def settle(self) -> None:
        """Note that it is done with."""
        self._hand.settle(self._tag)

    def refuse(self, reason: str) -> None:
        """Have it put aside."""
        self._hand.refuse(self._tag, self.parcel, reason)

    def give_back(self) -> None:
        """Have somebody else take it: nobody here has seen it."""
        self._hand.give_back(self._tag)


class _Hand:
    """What has come over one channel and is not settled. Means nothing any more once the channel is closed."""

    def __init__(self, channel: Channel, queue: str, put_aside: PutAside) -> None:
        self._channel = channel
        self._queue = queue
        self._put_aside = put_aside
        self._unsettled: dict[int, bool] = {}  # tags in the order they came; whether still in somebody's hands
        self._settled: set[int] = set()
        self._given_back: list[int] = []
        self._refusing: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._ends = False
        self._teller = asyncio.create_task(self._tell(), name=f"settled in {queue}")

    def take(self, tag: int) -> None:
        """Note that one has come."""
        self._unsettled[tag] = True

    def settle(self, tag: int) -> None:
        """Note that one is done with."""
        if self._unsettled.get(tag):
            self._over(tag)

    def give_back(self, tag: int) -> None:
        """Have the broker hand one to somebody else."""
        if self._unsettled.pop(tag, None):
            self._given_back.append(tag)
            self._news.set()

    def refuse(self, tag: int, parcel: Parcel, reason: str) -> None:
        """Have one put aside, and settle it then."""
        if self._unsettled.get(tag):
            self._unsettled[tag] = False
            task = asyncio.create_task(self._refuse(tag, parcel, reason), name=f"refused in {self._queue}")
            self._refusing.add(task)
            task.add_done_callback(self._refusing.discard)

    def drop(self) -> None:
        """Forget everything: the channel is gone, and what was unsettled comes again."""
        self._unsettled.clear()
        self._settled.clear()
        self._given_back.clear()
        for task in (self._teller, *self._refusing):
            task.cancel()

    async def finish(self) -> None:
        """Tell the broker of all that was settled."""
        while self._refusing:
            await asyncio.wait(self._refusing)
        self._ends = True
        self._news.set()
        await self._teller

    def _over(self, tag: int) -> None:
        self._unsettled[tag] = False
        self._settled.add(tag)
        self._news.set()

    async def _refuse(self, tag: int, parcel: Parcel, reason: str) -> None:
        while True:
            try:
                await self._put_aside(self._queue, parcel, reason)
            except TransportUnavailableError as error:
                logger.debug("A parcel is put aside again: %s", error)
                if self._channel.is_closed:
                    return
                await asyncio.sleep(0)
            else:
                break
        if tag in self._unsettled:
            self._over(tag)

    async def _tell(self) -> None:
        """Acknowledge what was settled, with as few words as the order allows."""
        with overlooking_loss():
            while not self._ends or self._settled or self._given_back:
                await self._news.wait()
                self._news.clear()
                given_back, self._given_back = self._given_back, []
                for tag in given_back:  # before an acknowledgement of all up to another would count for it, too
                    await self._channel.basic_nack(tag, wait=False)
                for tag, and_before in self._due():
                    await self._channel.basic_ack(tag, multiple=and_before, wait=False)

    def _due(self) -> list[tuple[int, bool]]:
        settled, self._settled = self._settled, set()
        prefix = 0
        for tag in self._unsettled:
            if tag not in settled:
                break
            prefix = tag
        due = [(prefix, True)] if prefix else []
        due += [(tag, False) for tag in sorted(settled) if tag > prefix]
        for tag in settled:
            del self._unsettled[tag]
        return due


class Taking:
    """What comes to one queue, handed out one after the other.

    Args:
        line: The line that it comes over.
        queue: The queue.
        prefetch: How many may be unsettled at a time.
        wants: Whether a parcel is handed out; others count as settled.
        settles: Whether what is handed out counts as settled.
        declare: Makes anew what has to be there.
        put_aside: Keeps what was refused.
    """

    def __init__(
        self,
        line: Line,
        queue: str,
        *,
        prefetch: int,
        wants: Callable[[Parcel], bool],
        settles: bool,
        declare: Callable[[], Awaitable[None]],
        put_aside: PutAside,
    ) -> None:
        self._line = line
        self._queue = queue
        self._prefetch = prefetch
        self._wants = wants
        self._settles = settles
        self._declare = declare
        self._put_aside = put_aside
        self._ready: deque[Arrival] = deque()
        self._grown = asyncio.Event()
        self._closed = False
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving: asyncio.Task[None] | None = None
        self._hand: _Hand | None = None
        self._channel: Channel | None = None
        self._channels = 0
        self._keeper = asyncio.create_task(self._keep(), name=f"from {queue}")
        self._keeper.add_done_callback(lambda _: self._grown.set())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Arrival:
        while not self._ready:
            if self._keeper.done():
                if not self._keeper.cancelled():
                    self._keeper.result()  # raises what nobody expected
                raise StopAsyncIteration
            self._grown.clear()
            await self._grown.wait()
        arrival = self._ready.popleft()
        if self._settles:
            arrival.settle()
        return arrival

    def leave(self) -> None:
        """Hand out no more, and give back what was not handed out; the rest can be settled until the close.

        Only where nothing depends on who takes what comes next: it may go to another process at once.
        """
        if not self._left.done():
            self._left.set_result(None)

    async def close(self) -> None:
        """Hand out no more, tell the broker what was settled, and let go of the rest."""
        self._closed = True
        self._ready.clear()
        if self._leaving is not None:  # a cancellation would close the channel before it is told what was settled
            await asyncio.wait([self._leaving], timeout=_PATIENCE)
            await end_task(self._leaving)
        with overlooking_loss():
            await end_task(self._keeper)
        hand, channel = self._hand, self._channel
        if hand is not None and channel is not None:
            with overlooking_loss():
                async with asyncio.timeout(_PATIENCE):
                    await hand.finish()
                    await channel.close()
            hand.drop()

    async def _keep(self) -> None:
        """Consume, again and again; ends when the line is closed, and with the channel when it was left."""
        pause = 0.0
        while not self._left.done():
            try:
                connection = await self._line.get()
            except TransportUnavailableError:
                return
            try:
                await self._consume(connection)
                pause = _PAUSE
            except BaseException as error:
                if not is_loss(error):
                    raise
                logger.debug("Nothing comes from %s for now: %s", self._queue, text_of(error))
                pause = min(max(2 * pause, _PAUSE), _LONGEST_PAUSE)
            await self._let_go()
            if not connection.is_closed and not self._left.done():  # only the channel was: the queue may be gone
                await self._mend(pause)

    async def _consume(self, connection: Connected) -> None:
        """Take what comes over one channel; returns when it is closed, or the queue deleted."""
        self._channel = channel = await connection.open_channel(confirms=False)
        self._hand = hand = _Hand(channel, self._queue, self._put_aside)
        deleted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def came(message: DeliveredMessage) -> None:
            if self._closed or hand is not self._hand or message.delivery_tag is None:
                return
            parcel = unpack(message.header.properties, message.body)
            hand.take(message.delivery_tag)
            arrival = Arrival(hand, message.delivery_tag, parcel, again=bool(message.redelivered))
            if self._wants(parcel):
                self._ready.append(arrival)
                self._grown.set()
            else:
                arrival.settle()

        def cancelled(_: spec.Basic.Cancel) -> None:
            if not deleted.done():
                deleted.set_result(None)

        channel.on_consumer_cancel_callbacks.add(cancelled)
        await channel.basic_qos(prefetch_count=self._prefetch)
        self._channels += 1
        # The newest comes first: the broker may not have noticed yet that the one before is gone.
        arguments: dict[str, Any] = {"x-priority": self._channels} if self._settles else {}
        consuming = await channel.basic_consume(self._queue, came, arguments=arguments)
        await asyncio.wait([channel.closing, deleted, self._left], return_when=asyncio.FIRST_COMPLETED)
        if self._left.done() and consuming.consumer_tag is not None:
            self._leaving = asyncio.create_task(
                self._hand_over(channel, consuming.consumer_tag), name=f"left {self._queue}"
            )
            await asyncio.wait([channel.closing])

    async def _hand_over(self, channel: Channel, consumer: str) -> None:
        """Have nothing come any more, and give back what nobody has seen."""
        with overlooking_loss():
            await channel.basic_cancel(consumer)  # what was under way has come before the answer to it
        while self._ready:
            self._ready.popleft().give_back()

    async def _let_go(self) -> None:
        """Forget the channel and what came over it."""
        self._ready.clear()
        if self._leaving is not None:
            await end_task(self._leaving)
        if self._hand is not None:
            self._hand.drop()
        if self._channel is not None:
            with overlooking_loss():
                async with asyncio.timeout(_PATIENCE):
                    await self._channel.close()
        self._hand = self._channel = None

    async def _mend(self, pause: float) -> None:
        """Make anew what may be gone, after a pause."""
        await asyncio.sleep(pause)
        try:
            await self._declare()
        except (TransportUnavailableError, TopologyDriftError) as error:
            logger.warning("%s", error)
