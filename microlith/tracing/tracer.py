"""The tracer: gathers facts about messages and hands them to whoever follows.

The hot path only appends to bounded buffers. While somebody follows, a timer turns what was gathered
into facts (JSON-ready CloudEvents, secrets masked) for at most a small part of each interval; what does
not fit is dropped and counted.

Never raises into the application and never waits for a follower.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from linecache import getline
from pathlib import Path
from time import monotonic, thread_time, time
from types import TracebackType
from typing import Any

from microlith.clock import iso
from microlith.context import Handling
from microlith.envelope import ORIGIN, Envelope
from microlith.errors import text_of
from microlith.payloads import scrub
from microlith.secrecy import hidden_values
from microlith.serialization import MessageTypes

Fact = dict[str, Any]
logger = logging.getLogger("microlith")

_SENT, _HANDLED, _SCHEDULED, _CANCELLED, _CONNECTION = range(5)
_INTERVAL = 0.03
_SHARE = 0.03
"""Share of the loop's time that the tracer may take while it is behind."""
_SHARE_OF_REST = 0.1
"""The same, of the time in which the loop's thread had nothing to do."""
_FOLLOWER_LIMIT = 5_000
_AHEAD = 500
"""Facts that are made for a reader which has not read the last ones; what comes then waits as it is, which costs less."""
_NO_LIMIT = float("inf")
_REMEMBERED = 256
"""How many messages, and how many handlings, are remembered."""


class Follower:
    """One reader of the facts, with a bounded buffer of its own.

    Attributes:
        dropped: How many facts this reader has missed since it last asked, because it was slow.
    """

    def __init__(
        self, limit: int, close: "Callable[[Follower], None]", fact_about_drops: Callable[[int], Fact]
    ) -> None:
        self._facts: deque[Fact] = deque()
        self._limit = limit
        self._close = close
        self._fact_about_drops = fact_about_drops
        self._ready = asyncio.Event()
        self._open = True
        self.dropped = 0

    @property
    def room(self) -> int:
        """How many facts it can take."""
        return self._limit - len(self._facts)

    @property
    def waits(self) -> bool:
        """Whether facts are worth making for it now."""
        return len(self._facts) < min(_AHEAD, self._limit)

    def offer(self, facts: list[Fact], dropped: int) -> None:
        """Take facts as far as there is room; count the rest, and those that were dropped before."""
        room = self.room
        self._facts.extend(facts[:room])
        self.dropped += max(0, len(facts) - room) + dropped
        self._ready.set()

    def take(self) -> list[Fact]:
        """Return what has gathered, with a fact about drops at the end if there were any."""
        facts = list(self._facts)
        self._facts.clear()
        self._ready.clear()
        if self.dropped:
            facts.append(self._fact_about_drops(self.dropped))
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

    The newest messages and handlings are remembered in any case: a wait that ran out of time is explained with them.

    Args:
        types: Its message types.
        source: Its name.
        process: Name of this process, which every fact bears; empty for one that runs the whole application.
        limit: How many facts wait to be made.

    Attributes:
        dropped: Facts dropped because the application was faster than the tracer may be.
        failed: How many messages a handler could not handle since the start, tries before the last one left out.
    """

    def __init__(self, types: MessageTypes, source: str, process: str = "", *, limit: int = 5_000) -> None:
        self._types = types
        self._source = source
        self._process = {"process": process} if process else {}
        self._limit = limit
        self._room = limit
        # Each new one pushes an old one out at once, so that the garbage collector sees no growth and has no work.
        self._sent: deque[Envelope[Any]] = deque(maxlen=_REMEMBERED)
        self._handled: deque[Handling] = deque(maxlen=_REMEMBERED)
        self._backlog: deque[tuple[Any, ...]] = deque()
        self._followers: list[Follower] = []
        self._sequence = 0
        self._wall_minus_monotonic = time() - monotonic()
        self._worked = thread_time()
        self._timer: asyncio.TimerHandle | None = None
        self._makers: tuple[Callable[..., Fact], ...] = (
            self._sent_fact,
            self._handled_fact,
            self._scheduled_fact,
            self._cancelled_fact,
            self._connection_fact,
        )
        self.dropped = 0
        self.failed = 0

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

    def sent(self, envelope: Envelope[Any], handlers: int, position: int | None, projections: int = 0) -> None:
        """Note that a message was accepted, and how many handlers and projections take it."""
        self._sent.append(envelope)
        if self._followers:
            if len(self._backlog) < self._room:
                self._backlog.append((_SENT, envelope, handlers, position, projections))
            else:
                self.dropped += 1

    def handled(self, handling: Handling, error: BaseException | None = None, sent: Sequence[str] = ()) -> None:
        """Note that a handling is finished: its error, or the ids of the messages it sent."""
        self._handled.append(handling)
        if error is not None and handling.outcome != "retried":
            self.failed += 1
        if self._followers:
            if len(self._backlog) < self._room:
                self._backlog.append((_HANDLED, handling, error, sent))
            else:
                self.dropped += 1

    def scheduled(self, envelope: Envelope[Any], due: float, name: str | None) -> None:
        """Note that a message is kept until it is due, seconds since the epoch."""
        self._gather(_SCHEDULED, envelope, due, name)

    def cancelled(self, correlation_id: str, cause: str | None, name: str | None, message_id: str | None) -> None:
        """Note that a schedule was cancelled, by name or by message id; `cause` is the message being handled then."""
        self._gather(_CANCELLED, time(), correlation_id, cause, name, message_id)

    def connection(self, broker: str, away: str) -> None:
        """Note that a broker went away, and why; or, with an empty text, that it is back."""
        self._gather(_CONNECTION, time(), broker, away)

    def follow(self, limit: int = _FOLLOWER_LIMIT) -> Follower:
        """Begin to follow: the reader gets every fact from now on, or a count of those it missed."""
        # What was dropped before is not this one's to miss.
        dropped, self.dropped = self.dropped, 0
        for other in self._followers:
            other.offer([], dropped)
        follower = Follower(limit, self._forget, self._drops)
        self._room = self._limit
        self._followers.append(follower)
        return follower

    def _gather(self, *record: Any) -> None:
        if self._followers:
            if len(self._backlog) < self._room:
                self._backlog.append(record)
            else:
                self.dropped += 1

    def flush(self) -> None:
        """Hand everything gathered so far to the followers now, however long it takes."""
        self._publish(_NO_LIMIT)

    def forget(self) -> None:
        """Forget what was sent and handled lately, after followers were told of it."""
        self.flush()
        self._sent.clear()
        self._handled.clear()

    def handlings_of(self, correlation_ids: Collection[str]) -> dict[str, list[Handling]]:
        """Return, per correlation, what was handled lately, in order of ending."""
        found: dict[str, list[Handling]] = {}
        for handling in self._handled:
            if handling.envelope.correlation_id in correlation_ids:
                found.setdefault(handling.envelope.correlation_id, []).append(handling)
        return found

    def messages_of(self, correlation_ids: Collection[str]) -> dict[str, list[Envelope[Any]]]:
        """Return, per correlation, the messages that were sent lately, in order."""
        found: dict[str, list[Envelope[Any]]] = {}
        for envelope in self._sent:
            if envelope.correlation_id in correlation_ids:
                found.setdefault(envelope.correlation_id, []).append(envelope)
        return found

    def sent_in(self, correlation_id: str) -> list[Envelope[Any]]:
        """Return the messages of a correlation that were sent lately, in order."""
        return [envelope for envelope in self._sent if envelope.correlation_id == correlation_id]

    @property
    def newest(self) -> tuple[object, object]:
        """The newest message and the newest handling: the same again when nothing has happened in between."""
        return self._sent[-1] if self._sent else None, self._handled[-1] if self._handled else None

    def slow_handlers(self, seconds: float, since: float) -> list[str]:
        """Name the handlers that ended since a moment (monotonic seconds) and took longer than `seconds`."""
        return sorted({h.handler for h in self._handled if h.ended > since and h.ended - h.started > seconds})

    def _tick(self) -> None:
        worked, self._worked = self._worked, thread_time()
        rest = _INTERVAL - (self._worked - worked)
        self._publish(max(_INTERVAL * _SHARE, rest * _SHARE_OF_REST))
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tick)

    def _publish(self, budget: float) -> None:
        if not self._followers:
            self._backlog.clear()
            self.dropped = 0
            return
        wanted = budget == _NO_LIMIT or any(follower.waits for follower in self._followers)
        facts = list(self._facts_within(budget)) if wanted else []
        dropped, self.dropped = self.dropped, 0
        if facts or dropped:
            for follower in self._followers:
                follower.offer(facts, dropped)
        # While nobody could take a fact, none is worth keeping.
        self._room = self._limit if any(follower.room for follower in self._followers) else 0

    def _facts_within(self, budget: float) -> Iterator[Fact]:
        deadline = monotonic() + budget
        while self._backlog and monotonic() < deadline:
            record = self._backlog.popleft()
            try:
                fact = self._makers[record[0]](*record[1:])
            except Exception as error:  # noqa: BLE001 (a message that cannot be shown must not end all showing)
                logger.warning("A fact could not be shown and is left out: %s", type(error).__name__)
                self.dropped += 1
            else:
                yield fact

    def _sent_fact(self, envelope: Envelope[Any], handlers: int, position: int | None, projections: int) -> Fact:
        fact = self._types.cloud_event(envelope, self._source)
        data = fact.pop("data")
        fact |= self._process
        if envelope.headers is not None and ORIGIN in envelope.headers:
            fact["origin"] = envelope.headers[ORIGIN]
        fact["handlers"] = handlers
        if projections:
            fact["projections"] = projections
        if position is not None:
            fact["position"] = position
        self._sequence += 1
        fact["seq"] = self._sequence
        fact["data"] = data
        return fact

    def _handled_fact(self, handling: Handling, error: BaseException | None, sent: Sequence[str]) -> Fact:
        envelope = handling.envelope
        data: dict[str, Any] = {
            "handler": handling.handler,
            "message": self._types.shown(self._types.of(type(envelope.message))),
            "outcome": handling.outcome,
            "attempt": handling.attempt,
            "queued_ms": round((handling.started - handling.queued) * 1000, 3),
            "took_ms": round((handling.ended - handling.started) * 1000, 3),
            "sent": list(sent),
        }
        if handling.outcome == "ignored":
            data["reason"] = scrub(handling.reason, hidden_values(envelope.message))
        if error is not None:
            data["error"] = describe_error(error, hidden_values(envelope.message))
        fact = self._fact("microlith.handled", handling.started + self._wall_minus_monotonic, data)
        fact["id"] = f"{envelope.message_id}/{handling.handler}"
        fact["correlationid"] = envelope.correlation_id
        fact["causationid"] = envelope.message_id
        return fact

    def _scheduled_fact(self, envelope: Envelope[Any], due: float, name: str | None) -> Fact:
        entry = self._types.of(type(envelope.message))
        data = {
            "message": self._types.shown(entry),
            "kind": entry.kind,
            "messageid": envelope.message_id,
            "due": iso(due),
        }
        fact = self._fact("microlith.scheduled", envelope.time, data | ({"name": name} if name else {}))
        fact["id"] = f"{envelope.message_id}/scheduled"
        return fact | _place(envelope.correlation_id, envelope.causation_id)

    def _cancelled_fact(
        self, moment: float, correlation_id: str, cause: str | None, name: str | None, message_id: str | None
    ) -> Fact:
        data = ({"messageid": message_id} if message_id else {}) | ({"name": name} if name else {})
        return self._fact("microlith.cancelled", moment, data) | _place(correlation_id, cause)

    def _connection_fact(self, moment: float, broker: str, away: str) -> Fact:
        data = {"broker": broker, "connected": not away} | ({"reason": away[:500]} if away else {})
        return self._fact("microlith.transport", moment, data)

    def _fact(self, kind: str, moment: float, data: dict[str, Any]) -> Fact:
        self._sequence += 1
        return {
            "specversion": "1.0",
            "id": f"{kind}/{self._sequence}",
            "source": f"/{self._source}",
            "type": kind,
            "time": iso(moment),
            "datacontenttype": "application/json",
            **self._process,
            "seq": self._sequence,
            "data": data,
        }

    def _drops(self, count: int) -> Fact:
        return self._fact("microlith.dropped", time(), {"count": count})

    def _forget(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)


def _place(correlation_id: str, cause: str | None) -> Fact:
    return {"correlationid": correlation_id} | ({"causationid": cause} if cause else {})


def describe_error(error: BaseException, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Show an error as JSON: type, message, and the file, line and source line that raised it, secrets masked."""
    hidden = list(secrets)
    shown: dict[str, Any] = {"type": type(error).__name__, "message": scrub(text_of(error), hidden)[:2000]}
    frame = _innermost(error.__traceback__)
    if frame is not None:
        file = frame.tb_frame.f_code.co_filename
        shown["file"] = _from_here(file)
        shown["line"] = frame.tb_lineno
        if source := getline(file, frame.tb_lineno).strip():
            shown["source"] = scrub(source, hidden)[:200]
    return shown


def _from_here(file: str) -> str:
    try:
        return file.removeprefix(f"{Path.cwd()}/")
    except FileNotFoundError:  # the folder the process runs in was removed
        return file


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
