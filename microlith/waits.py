"""Waits: who waits for which messages of which correlation.

A wait costs one entry in a dictionary and one in a bucket of deadlines; one timer serves them all, and there is no
subscription. After any end nothing of it is left.

Sees messages and handlings pass by; never looks into the past (the buses do that with the store).
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microlith.context import Handling
from microlith.envelope import Envelope

_GRAIN = 0.01
"""Width of a bucket of deadlines, seconds: how late a timeout may be noticed."""
_NEVER = sys.maxsize
_SEEN = 100
"""How many messages, and how many handlings, a correlation that is waited on remembers."""


class Wait:
    """One wait. Its future gets the first match, or all of them in the order of the types.

    Attributes:
        key: The key of the question it waits for the answer to; None for a wait for messages of a correlation.
        correlation_id: The correlation it belongs to.
        classes: Message classes it waits for; none for the answer to a question, whatever its class.
        every: Whether it needs one of each, rather than the first of any.
        timeout: Seconds it was given.
        future: Resolves with a tuple of envelopes.
        open: Whether it has not been closed.
        conditions: For some of the classes: tells whether a message is one that is waited for.
    """

    __slots__ = (
        "bucket",
        "classes",
        "conditions",
        "correlation_id",
        "every",
        "found",
        "future",
        "key",
        "open",
        "timeout",
    )

    def __init__(
        self,
        key: str | None,
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
        self.open = True
        self.conditions: Mapping[type[Any], Callable[[Envelope[Any]], bool]] | None = None

    def offer(self, envelope: Envelope[Any]) -> None:
        """Look at a message; resolve if it is the one, or the last one, that was missing."""
        cls = type(envelope.message)
        if (self.classes and cls not in self.classes) or self.future.done() or cls in self.found:
            return
        if self.conditions is not None and cls in self.conditions and not self.conditions[cls](envelope):
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


class Watched:
    """A correlation that somebody waits on.

    Attributes:
        waits: Waits for messages of this correlation; not those for the answer to a question.
        open: How many waits there are in all.
        sent: Its messages since the first wait began, the first of them; for the report of a timeout.
        handled: Its handlings since then, likewise.
    """

    __slots__ = ("handled", "open", "sent", "waits")

    def __init__(self) -> None:
        self.waits: dict[Wait, None] = {}
        self.open = 0
        self.sent: list[Envelope[Any]] = []
        self.handled: list[Handling] = []

    def offer(self, envelope: Envelope[Any]) -> None:
        """Show a message to the waits."""
        if len(self.sent) < _SEEN:
            self.sent.append(envelope)
        for wait in self.waits:
            wait.offer(envelope)

    def note(self, handling: Handling) -> None:
        """Remember a handling."""
        if len(self.handled) < _SEEN:
            self.handled.append(handling)


class Waits:
    """Every wait of one running application.

    `expired` is called with the waits that ran out of time together, and returns an error for each.

    Attributes:
        watched: What is waited on, by correlation id.
    """

    def __init__(self, expired: Callable[[list[Wait]], list[BaseException]]) -> None:
        self._expired = expired
        self.watched: dict[str, Watched] = {}
        self._questions: dict[str, list[Wait]] = {}
        self._buckets: dict[int, dict[Wait, None]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return sum(watched.open for watched in self.watched.values())

    def open(
        self, correlation_id: str, classes: Sequence[type[Any]], *, every: bool, timeout: float, key: str | None = None
    ) -> Wait:
        """Begin a wait. The caller closes it, whatever happens.

        Args:
            correlation_id: The correlation it is for.
            classes: What it waits for.
            every: Whether it needs one of each.
            timeout: Seconds.
            key: For the answer to a question, see `question_key`.

        Raises:
            ValueError: The timeout is no number, or no end.
        """
        try:
            bucket = int((self._loop.time() + timeout) / _GRAIN) + 1
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"A wait lasts a number of seconds, such as 5.0; not {timeout!r}.") from None
        wait = Wait(key, correlation_id, classes, every, timeout, self._loop.create_future())
        watched = self.watched.get(correlation_id)
        if watched is None:
            self.watched[correlation_id] = watched = Watched()
        watched.open += 1
        if key is None:
            watched.waits[wait] = None
        else:
            self._questions.setdefault(key, []).append(wait)
        wait.bucket = bucket
        members = self._buckets.get(bucket)
        if members is None:
            self._buckets[bucket] = {wait: None}
            if bucket < self._alarm_at:
                self._set_alarm(bucket)
        else:
            members[wait] = None
        return wait

    def close(self, wait: Wait) -> None:
        """Forget a wait. Safe to call twice."""
        if wait.open:
            wait.open = False
            self._forget(wait)
        if not wait.future.done():
            wait.future.cancel()
        elif not wait.future.cancelled():
            wait.future.exception()  # the waiter may have been cancelled before it could look

    def offer(self, envelope: Envelope[Any]) -> None:
        """Show a message to the waits on its correlation."""
        watched = self.watched.get(envelope.correlation_id)
        if watched is not None:
            watched.offer(envelope)

    def answer(self, question: str, answer: Envelope[Any] | BaseException) -> bool:
        """Answer the one who asked a question; tell whether somebody had."""
        waits = self._questions.get(question_key(question), ())
        for wait in waits:
            if isinstance(answer, Envelope):
                wait.offer(answer)
            else:
                wait.fail(answer)
        return bool(waits)

    def fail(self, correlation_id: str, error: BaseException) -> None:
        """End every wait on a correlation with an error."""
        watched = self.watched.get(correlation_id)
        if watched is not None:
            for wait in watched.waits:
                wait.fail(error)

    def fail_all(self, error: BaseException) -> None:
        """End every wait with an error, and the timer."""
        if self._alarm is not None:
            self._alarm.cancel()
        for members in self._buckets.values():
            for wait in members:
                wait.fail(error)

    def _forget(self, wait: Wait) -> None:
        watched = self.watched[wait.correlation_id]
        watched.open -= 1
        if not watched.open:
            del self.watched[wait.correlation_id]
        elif wait.key is None:
            del watched.waits[wait]
        if wait.key is not None:
            asked = self._questions[wait.key]
            asked.remove(wait)
            if not asked:
                del self._questions[wait.key]
        members = self._buckets.get(wait.bucket)
        if members is not None:
            members.pop(wait, None)
            if not members:
                del self._buckets[wait.bucket]

    def _set_alarm(self, bucket: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = bucket
        self._alarm = self._loop.call_at(bucket * _GRAIN, self._expire)

    def _expire(self) -> None:
        """End what is due. The timer may ring for nothing: it is not set anew when a wait ends."""
        due = self._alarm_at
        self._alarm, self._alarm_at = None, _NEVER
        waits = [wait for wait in self._buckets.pop(due, ()) if not wait.future.done()]
        if self._buckets:
            self._set_alarm(min(self._buckets))
        if waits:
            for wait, error in zip(waits, self._expired(waits), strict=True):
                wait.fail(error)


def question_key(message_id: str) -> str:
    """Return what the wait for the answer to a query is found by: several queries may share a correlation."""
    return f"?{message_id}"
