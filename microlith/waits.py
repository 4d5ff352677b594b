"""Waits: who waits for which messages of which correlation.

A wait costs one entry in a dictionary and one in a bucket of deadlines; there is no timer and no
subscription each. After any end nothing of it is left.

Sees envelopes pass by; never looks into the past (the buses do that with the store).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from microlith.envelope import Envelope

_GRAIN = 0.01
"""Width of a bucket of deadlines, seconds: how late a timeout may be noticed."""


class Wait:
    """One wait. Its future gets the first match, or all of them in the order of the types.

    Attributes:
        key: What it is found by: a correlation id, or the key of a question.
        correlation_id: The correlation it belongs to.
        classes: Message classes it waits for; none for the answer to a question, whatever its class.
        every: Whether it needs one of each, rather than the first of any.
        timeout: Seconds it was given.
        future: Resolves with a tuple of envelopes.
    """

    __slots__ = ("bucket", "classes", "correlation_id", "every", "found", "future", "key", "timeout")

    def __init__(
        self,
        key: str,
        correlation_id: str,
        classes: Sequence[type[Any]],
        every: bool,
        timeout: float,
        future: asyncio.Future[Any],
    ) -> None:
        self.key = key
        self.correlation_id = correlation_id
        self.classes = classes
        self.every = every
        self.timeout = timeout
        self.future = future
        self.found: dict[type[Any], Envelope[Any]] = {}
        self.bucket = 0

    def offer(self, envelope: Envelope[Any]) -> None:
        """Look at a message; resolve if it is the one, or the last one, that was missing."""
        cls = type(envelope.message)
        if (self.classes and cls not in self.classes) or self.future.done() or cls in self.found:
            return
        self.found[cls] = envelope
        if not self.every:
            self.future.set_result((envelope,))
        elif len(self.found) == len(self.classes):
            self.future.set_result(tuple(self.found[wanted] for wanted in self.classes))

    def fail(self, error: BaseException) -> None:
        """End the wait with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    @property
    def missing(self) -> list[type[Any]]:
        """The classes that have not come."""
        return [cls for cls in self.classes if cls not in self.found]


class Waits:
    """Every wait of one running application.

    `expired` is called with the waits that ran out of time together, and returns an error for each.
    """

    def __init__(self, expired: Callable[[list[Wait]], list[BaseException]]) -> None:
        self._expired = expired
        self._by_key: dict[str, list[Wait]] = {}
        self._buckets: dict[int, dict[Wait, None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return sum(len(waits) for waits in self._by_key.values())

    def open(
        self, correlation_id: str, classes: Sequence[type[Any]], *, every: bool, timeout: float, key: str | None = None
    ) -> Wait:
        """Begin a wait. The caller closes it, whatever happens. `timeout` in seconds."""
        key = correlation_id if key is None else key
        wait = Wait(key, correlation_id, classes, every, timeout, self._loop.create_future())
        waits = self._by_key.get(key)
        if waits is None:
            self._by_key[key] = [wait]
        else:
            waits.append(wait)
        deadline = self._loop.time() + timeout
        wait.bucket = bucket = int(deadline / _GRAIN) + 1
        members = self._buckets.get(bucket)
        if members is None:
            self._buckets[bucket] = {wait: None}
            self._timers[bucket] = self._loop.call_at(bucket * _GRAIN, self._expire, bucket)
        else:
            members[wait] = None
        return wait

    def close(self, wait: Wait) -> None:
        """Forget a wait. Safe to call twice."""
        waits = self._by_key.get(wait.key)
        if waits is not None and wait in waits:
            waits.remove(wait)
            if not waits:
                del self._by_key[wait.key]
        members = self._buckets.get(wait.bucket)
        if members is not None:
            members.pop(wait, None)
            if not members:
                del self._buckets[wait.bucket]
                self._timers.pop(wait.bucket).cancel()
        if not wait.future.done():
            wait.future.cancel()
        elif not wait.future.cancelled():
            wait.future.exception()  # the waiter may have been cancelled before it could look

    def offer(self, envelope: Envelope[Any]) -> None:
        """Show a message to the waits on its correlation."""
        waits = self._by_key.get(envelope.correlation_id)
        if waits is not None:
            for wait in waits:
                wait.offer(envelope)

    def answer(self, question: str, answer: Envelope[Any] | BaseException) -> bool:
        """Answer the one who asked a question; tell whether somebody had."""
        waits = self._by_key.get(question_key(question), ())
        for wait in waits:
            if isinstance(answer, Envelope):
                wait.offer(answer)
            else:
                wait.fail(answer)
        return bool(waits)

    def fail(self, correlation_id: str, error: BaseException) -> None:
        """End every wait on a correlation with an error."""
        for wait in self._by_key.get(correlation_id, ()):
            wait.fail(error)

    def fail_all(self, error: BaseException) -> None:
        """End every wait with an error."""
        for waits in list(self._by_key.values()):
            for wait in waits:
                wait.fail(error)

    def _expire(self, bucket: int) -> None:
        self._timers.pop(bucket, None)
        waits = [wait for wait in self._buckets.pop(bucket, ()) if not wait.future.done()]
        if waits:
            for wait, error in zip(waits, self._expired(waits), strict=True):
                wait.fail(error)


def question_key(message_id: str) -> str:
    """Return what the wait for the answer to a query is found by: several queries may share a correlation."""
    return f"?{message_id}"
