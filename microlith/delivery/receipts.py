"""Receipts: what a sender holds after dispatching.

A receipt has the ids at once. Awaiting it waits until the message is accepted under the store's
durability, and until there is room for more: that is the back-pressure.
"""

import asyncio
import logging
from collections.abc import Callable, Generator
from typing import Any, Protocol, Self

from microlith.context import handling_now
from microlith.delivery.routes import Route
from microlith.envelope import Envelope
from microlith.errors import MicrolithError
from microlith.event_store.protocol import Committed
from microlith.event_store.schedule import Scheduling
from microlith.handlers.lanes import CROWDED, Lane

logger = logging.getLogger("microlith")


class BlockedLoopError(MicrolithError):
    """Waiting in this way would block the loop that the wait depends on."""

    def __init__(self) -> None:
        super().__init__(
            "`receipt.result()` was called on the application's event loop, which it would block for ever.",
            hint="Write `await receipt`; `result()` is for threads.",
        )


class Delivering(Protocol):
    """The delivery, as far as a receipt needs it."""

    loop: asyncio.AbstractEventLoop

    def is_here(self) -> bool:
        """Tell whether the caller runs on the application's loop."""
        ...

    def deliver_committed(self, sent: list[tuple[Envelope[Any], Route]], committed: Committed) -> None:
        """Deliver what a commit wrote."""
        ...


class _Delay:
    """What a receipt needs only when its message is not accepted at once, as it is in memory."""

    __slots__ = ("error", "send_now", "waiters")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.send_now: Callable[[], None] | None = None
        self.waiters: list[asyncio.Future[None]] = []


class Receipt:
    """Proof of a dispatch.

    Attributes:
        envelope: The message in its envelope.
        route: Where it goes.
        pending: Whether it is not accepted yet.
    """

    __slots__ = ("_delay", "_delivery", "envelope", "pending", "route")

    change: Scheduling | None = None
    """What the store is asked to keep, for a message that is to be sent later; see `timers`."""

    def __init__(self, envelope: Envelope[Any], route: Route, delivery: Delivering) -> None:
        self.envelope = envelope
        self.route = route
        self._delivery = delivery
        self.pending = True
        self._delay: _Delay | None = None

    @property
    def message_id(self) -> str:
        """Id of the message."""
        return self.envelope.message_id

    @property
    def correlation_id(self) -> str:
        """Correlation id to wait on."""
        return self.envelope.correlation_id

    def __await__(self) -> Generator[Any, None, Self]:
        if self.pending or self._delay is not None:
            yield from self._until_accepted()
        for lane in self.route.lanes:
            if len(lane.queue) > CROWDED:
                yield from _until_less_crowded(lane)
        return self

    def result(self, timeout: float | None = None) -> Self:
        """Block a thread that has no event loop until the message is accepted. `timeout` in seconds.

        Raises:
            BlockedLoopError: It was called on the application's loop, which would then wait for itself.
        """
        if self._delivery.is_here():
            raise BlockedLoopError
        return asyncio.run_coroutine_threadsafe(self._awaited(), self._delivery.loop).result(timeout)

    def hold(self, send_now: Callable[[], None]) -> None:
        """Note that the message is held back until its handler returns; awaiting the receipt sends it at once."""
        self._delayed().send_now = send_now

    def recorded(self, committed: Committed | None, error: BaseException | None) -> None:
        """Take the store's word, deliver what it committed, and tell who waits."""
        if committed is not None:
            self._delivery.deliver_committed([(self.envelope, self.route)], committed)
        else:
            logger.error("%s was not recorded: %s", self.route.entry.name, error)
        self.accepted(error)

    def accepted(self, error: BaseException | None = None) -> None:
        """Mark the message as accepted, or refused with an error."""
        self.pending = False
        if error is not None:
            self._delayed().error = error
        if self._delay is not None:
            waiters, self._delay.waiters = self._delay.waiters, []
            for future in waiters:
                if not future.done():
                    future.set_result(None)

    def _until_accepted(self) -> Generator[Any, None, None]:
        delay = self._delayed()
        send_now, delay.send_now = delay.send_now, None
        if send_now is not None:
            send_now()
        if self.pending:
            future = self._delivery.loop.create_future()
            delay.waiters.append(future)
            yield from future
        if delay.error is not None:
            raise delay.error

    def _delayed(self) -> _Delay:
        if self._delay is None:
            self._delay = _Delay()
        return self._delay

    async def _awaited(self) -> Self:
        return await self

    def __repr__(self) -> str:
        return f"Receipt(message_id={self.message_id!r}, correlation_id={self.correlation_id!r})"


def _until_less_crowded(lane: Lane) -> Generator[Any, None, None]:
    handling = handling_now.get()
    if handling is not None and handling.handler == lane.name:
        return  # a handler that sends to itself would wait for itself
    yield  # quick handlers make room within one turn of the loop
    if len(lane.queue) > CROWDED and not lane.closing:
        room = asyncio.get_running_loop().create_future()
        lane.senders.append(room)
        yield from room
