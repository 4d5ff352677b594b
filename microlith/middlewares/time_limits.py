"""Timeout: limits how long a message may be handled, by its type, whoever handles it.

A handler's own limit (`handles(..., timeout=...)`, 30 s unless it says otherwise) holds besides: the
shorter one wins.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from microlith.context import handling_now
from microlith.envelope import Envelope
from microlith.errors import WiringError
from microlith.handlers.lanes import HandlerTimeoutError
from microlith.messages import Message
from microlith.middleware import Middleware, Proceed


class TimeLimitError(HandlerTimeoutError):
    """Handling a message took longer than messages of its type may take; the handler was cancelled."""

    def __init__(self, handler: str, message_name: str, timeout: float) -> None:
        super().__init__(handler, timeout)
        self.args = (f"Handler {handler} took longer than {timeout:g} s, the limit of {message_name}.",)
        self.hint = "Raise the limit where the application is given its `Timeout`, or make the handler quicker."
        self.message_name = message_name


class Timeout(Middleware):
    """Cancels a handling that takes longer than its message may.

    A `def` in a thread cannot be stopped from outside: its result is no longer waited for.
    """

    def __init__(self, seconds: Mapping[type[Message], float], *, default: float | None = None) -> None:
        """Set the limits.

        Args:
            seconds: Limit of each message type; one of a parent class holds for what derives from it.
            default: Limit of all others; None: none but their handler's.

        Raises:
            WiringError: A limit is not a number of seconds above 0.
        """
        for name, limit in [*((cls.__name__, limit) for cls, limit in seconds.items()), ("default", default)]:
            if limit is not None and not limit > 0:
                raise WiringError(f"The time limit of {name}, {limit!r}, is not more than 0 seconds.")
        self._seconds = dict(seconds)
        self._default = default
        self._found: dict[type[Message], float | None] = {}

    async def handling(self, envelope: Envelope[Any], proceed: Proceed) -> Any:
        """Handle within the limit."""
        limit = self._limit(type(envelope.message))
        if limit is None:
            return await proceed()
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await proceed()
        except TimeoutError as error:
            if not scope.expired():  # the handler's own
                raise
            handling = handling_now.get()
            handler = "of nobody" if handling is None else handling.handler
            raise TimeLimitError(handler, type(envelope.message).__name__, limit) from error

    def _limit(self, cls: type[Message]) -> float | None:
        if cls not in self._found:
            self._found[cls] = next(
                (self._seconds[base] for base in cls.__mro__ if base in self._seconds), self._default
            )
        return self._found[cls]
