"""The tracer: gathers facts about messages and hands them to whoever follows.

The hot path only appends a tuple to a bounded buffer. A timer turns tuples into facts (JSON-ready
CloudEvents, secrets masked) for at most a small part of each interval; what does not fit is
dropped and counted.

Never raises into the application and never waits for a follower.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from time import monotonic, time
from types import TracebackType
from typing import Any

from microlith.clock import iso
from microlith.envelope import Envelope
from microlith.payloads import scrub
from microlith.serialization import MessageTypes, secret_values

Fact = dict[str, Any]
_SENT, _HANDLED = 0, 1
_INTERVAL = 0.03
_SHARE = 0.05
"""Share of the loop's time that the tracer may take while it is behind."""
_FOLLOWER_LIMIT = 5_000


class Follower:
    """One reader of the facts, with a bounded buffer of its own.

    Attributes:
        dropped: How many facts this reader has missed since it last asked, because it was slow.
    """

    def __init__(self, limit: int, close: "Callable[[Follower], None]") -> None:
        self._facts: deque[Fact] = deque()
        self._limit = limit
        self._close = close
        self._ready = asyncio.Event()
        self._open = True
        self.dropped = 0

    def offer(self, facts: list[Fact]) -> None:
        """Take facts as far as there is room; count the rest."""
        room = self._limit - len(self._facts)
        self._facts.extend(facts[:room])
        self.dropped += max(0, len(facts) - room)
        self._ready.set()

    def take(self) -> list[Fact]:
        """Return what has gathered, with a fact about drops at the end if there were any."""
        facts = list(self._facts)
        self._facts.clear()
        self._ready.clear()
        if self.dropped:
            facts.append(
                {
                    "specversion": "1.0",
                    "type": "microlith.dropped",
                    "time": iso(time()),
                    "data": {"count": self.dropped},
                }
            )
            self.dropped = 0
        return facts

    def close(self) -> None:
        """Stop following. Safe to call twice."""
        self._open = False
        self._ready.set()
        self._close(self)

    async def __aiter__(self) -> AsyncIterator[list[Fact]]:
        while self._open:
            await self._ready.wait()
            facts = self.take()
            if facts:
                yield facts


class Tracer:
    """Gathers the facts of one running application.

    Attributes:
        recent: The newest raw records, bounded; what a timed-out wait is explained with.
        dropped: Facts dropped because the application was faster than the tracer may be.
    """

    def __init__(self, types: MessageTypes, source: str, *, limit: int = 20_000) -> None:
        self._types = types
        self._source = source
        self._limit = limit
        self._buffer: list[tuple[Any, ...]] = []
        self._backlog: deque[tuple[Any, ...]] = deque()
        self._followers: list[Follower] = []
        self._sequence = 0
        self._wall_minus_monotonic = time() - monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.recent: deque[tuple[Any, ...]] = deque(maxlen=limit)
        self.dropped = 0

    def start(self) -> None:
        """Begin handing facts to followers, on the running loop."""
        self._wall_minus_monotonic = time() - monotonic()
        self._tick()

    def stop(self) -> None:
        """Hand out what is left and end every follower."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        for follower in list(self._followers):
            follower.close()

    def sent(self, envelope: Envelope[Any], handlers: int, position: int | None) -> None:
        """Note that a message was accepted, and how many handlers take it."""
        if len(self._buffer) < self._limit:
            self._buffer.append((_SENT, envelope, handlers, position))
        else:
            self.dropped += 1

    def handled(self, *record: Any) -> None:
        """Note that a handler is finished.

        `record` is: handler name, envelope, attempt, queued, started and ended (monotonic seconds),
        outcome, error or None, ids of the messages it sent.
        """
        if len(self._buffer) < self._limit:
            self._buffer.append((_HANDLED, *record))
        else:
            self.dropped += 1

    def follow(self, limit: int = _FOLLOWER_LIMIT) -> Follower:
        """Begin to follow: the reader gets every fact from now on, or a count of those it missed."""
        follower = Follower(limit, self._forget)
        self._followers.append(follower)
        return follower

    def flush(self) -> None:
        """Hand everything gathered so far to the followers now, however long it takes."""
        self._gather()
        self._publish(float("inf"))

    def handlings(self, correlation_ids: set[str]) -> dict[str, list[dict[str, Any]]]:
        """Return, per correlation, the handlers that ran lately: handler, outcome, ms."""
        self._gather()
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.recent:
            if record[0] == _HANDLED and record[2].correlation_id in correlation_ids:
                entry = {"handler": record[1], "outcome": record[7], "ms": (record[6] - record[5]) * 1000}
                found.setdefault(record[2].correlation_id, []).append(entry)
        return found

    def sent_in(self, correlation_id: str) -> list[Envelope[Any]]:
        """Return the messages of a correlation that were sent lately, in order."""
        self._gather()
        return [r[1] for r in self.recent if r[0] == _SENT and r[1].correlation_id == correlation_id]

    def _tick(self) -> None:
        self._gather()
        self._publish(_INTERVAL * _SHARE)
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tick)

    def _gather(self) -> None:
        if not self._buffer:
            return
        records, self._buffer = self._buffer, []
        self.recent.extend(records)
        if self._followers:
            self._backlog.extend(records)
            surplus = len(self._backlog) - self._limit
            for _ in range(surplus):
                self._backlog.popleft()
            self.dropped += max(0, surplus)

    def _publish(self, budget: float) -> None:
        if not self._followers:
            self._backlog.clear()
            self.dropped = 0
            return
        if not (self._backlog or self.dropped):
            return
        facts = list(self._facts_within(budget))
        if self.dropped and not self._backlog:
            facts.append(self._fact("microlith.dropped", time(), {"count": self.dropped}))
            self.dropped = 0
        for follower in self._followers:
            follower.offer(facts)

    def _facts_within(self, budget: float) -> Iterator[Fact]:
        deadline = monotonic() + budget
        while self._backlog and monotonic() < deadline:
            record = self._backlog.popleft()
            yield self._sent_fact(*record[1:]) if record[0] == _SENT else self._handled_fact(*record[1:])

    def _sent_fact(self, envelope: Envelope[Any], handlers: int, position: int | None) -> Fact:
        fact = self._types.cloud_event(envelope, self._source)
        data = fact.pop("data")
        fact["handlers"] = handlers
        if position is not None:
            fact["position"] = position
        self._sequence += 1
        fact["seq"] = self._sequence
        fact["data"] = data
        return fact

    def _handled_fact(
        self,
        handler: str,
        envelope: Envelope[Any],
        attempt: int,
        queued: float,
        started: float,
        ended: float,
        outcome: str,
        error: BaseException | None,
        sent: list[str],
    ) -> Fact:
        data: dict[str, Any] = {
            "handler": handler,
            "message": self._types.shown(self._types.of(type(envelope.message))),
            "outcome": outcome,
            "attempt": attempt,
            "queued_ms": round((started - queued) * 1000, 3),
            "took_ms": round((ended - started) * 1000, 3),
            "sent": sent,
        }
        if error is not None:
            data["error"] = describe_error(error, secret_values(envelope.message))
        fact = self._fact("microlith.handled", started + self._wall_minus_monotonic, data)
        fact["id"] = f"{envelope.message_id}/{handler}"
        fact["correlationid"] = envelope.correlation_id
        fact["causationid"] = envelope.message_id
        return fact

    def _fact(self, kind: str, moment: float, data: dict[str, Any]) -> Fact:
        self._sequence += 1
        return {
            "specversion": "1.0",
            "id": f"{kind}/{self._sequence}",
            "source": f"/{self._source}",
            "type": kind,
            "time": iso(moment),
            "datacontenttype": "application/json",
            "seq": self._sequence,
            "data": data,
        }

    def _forget(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)


def describe_error(error: BaseException, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Show an error as JSON: type, message, and the file, line and source line that raised it, secrets masked."""
    hidden = list(secrets)
    shown: dict[str, Any] = {"type": type(error).__name__, "message": scrub(str(error), hidden)[:2000]}
    frame = _innermost(error.__traceback__)
    if frame is not None:
        shown["file"] = frame.tb_frame.f_code.co_filename
        shown["line"] = frame.tb_lineno
    return shown


def _innermost(traceback: TracebackType | None) -> TracebackType | None:
    """Find the deepest frame that is the user's: not of an installed package, if there is one."""
    last = users = traceback
    while traceback is not None:
        last = traceback
        path = traceback.tb_frame.f_code.co_filename
        if "site-packages" not in path and "microlith/handlers/" not in path:
            users = traceback
        traceback = traceback.tb_next
    return users or last
