"""Receipts: what a sender holds after dispatching.

A receipt has the ids at once. Awaiting it waits until the message is accepted under the store's
durability, and until there is room for more: that is the back-pressure.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Self

from microlith.envelope import Envelope

_CROWDED_PAUSE = 0.002
"""Seconds between two looks at a crowded lane."""


class Receipt:
    """Proof of a dispatch.

    Attributes:
        envelope: The message in its envelope.
    """

    __slots__ = ("_crowded", "_error", "_loop", "_pending", "_send_now", "_waiters", "envelope")

    def __init__(self, envelope: Envelope[Any], loop: asyncio.AbstractEventLoop, crowded: Callable[[], bool]) -> None:
        self.envelope = envelope
        self._loop = loop
        self._crowded = crowded
        self._pending = False
        self._error: BaseException | None = None
        self._send_now: Callable[[], None] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def message_id(self) -> str:
        """Id of the message."""
        return self.envelope.message_id

    @property
    def correlation_id(self) -> str:
        """Correlation id to wait on."""
        return self.envelope.correlation_id

    def __await__(self) -> Generator[Any, None, Self]:
        if self._send_now is not None:
            self._send_now()
        if self._pending:
            future = self._loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(future)
            yield from future
        if self._error is not None:
            raise self._error
        while self._crowded():
            yield from asyncio.sleep(_CROWDED_PAUSE).__await__()
        return self

    def result(self, timeout: float | None = None) -> Self:
        """Block a thread that has no event loop until the message is accepted. `timeout` in seconds."""
        return asyncio.run_coroutine_threadsafe(self._awaited(), self._loop).result(timeout)

    def hold(self, send_now: Callable[[], None]) -> None:
        """Mark the message as held back until its handler returns; awaiting the receipt sends it at once."""
        self._send_now = send_now
        self._pending = True

    def under_way(self) -> None:
        """Mark the message as on its way to the store."""
        self._send_now = None
        self._pending = True

    def accepted(self, error: BaseException | None = None) -> None:
        """Mark the message as accepted, or refused with an error."""
        self._send_now = None
        self._pending = False
        self._error = error
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                future.set_result(None)

    async def _awaited(self) -> Self:
        return await self

    def __repr__(self) -> str:
        return f"Receipt(message_id={self.message_id!r}, correlation_id={self.correlation_id!r})"
