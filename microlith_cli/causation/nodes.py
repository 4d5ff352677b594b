"""What a tree is made of: messages and their handling, and how one fact is read into them.

A fact is data from outside: a field that is missing or of another type reads as unknown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from microlith_cli.plurals import plural

Fact = Mapping[str, Any]

HANDLED = "microlith.handled"
STARTED = "microlith.started"
SCHEDULED = "microlith.scheduled"
CANCELLED = "microlith.cancelled"
_FAILURES = frozenset({"failed", "timeout"})


@dataclass(slots=True, eq=False)
class Handling:
    """One handler at work on one message; a retry is a handling of its own.

    Attributes:
        handler: Its name, such as "auth.login".
        message: The type of the message.
        outcome: "ok", "failed", "timeout", "retried", "ignored", "cancelled", or "running".
        attempt: Counted from 1.
        started: When it began, seconds since the epoch; None when unknown.
        queued_ms: How long the message had waited for it.
        took_ms: How long it worked; None while it is running.
        error: Of a failure: type, message, file, line, source, as far as known.
        reason: Why it was ignored.
        process: Where it happened; empty for an application that is one process.
        last: Whether no later attempt is known.
        sent: What it sent, in order.
        sent_ids: The ids of what it says it sent.
    """

    handler: str
    message: str
    outcome: str
    attempt: int = 1
    started: float | None = None
    queued_ms: float = 0.0
    took_ms: float | None = None
    error: Mapping[str, Any] | None = None
    reason: str = ""
    process: str = ""
    last: bool = True
    sent: "list[Message]" = field(default_factory=list, repr=False)
    sent_ids: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it raised or ran out of time."""
        return self.outcome in _FAILURES

    @property
    def component(self) -> str:
        """The component that the handler belongs to."""
        return self.handler.partition(".")[0]


@dataclass(slots=True, eq=False)
class Message:
    """One message and what became of it.

    Attributes:
        kind: "command", "query", "response" or "event"; empty where the message itself is not in the facts.
        time: When it was made, seconds since the epoch; None when unknown.
        handlers: How many handlers take it, those that send it on to other processes included; None when unknown.
        projections: How many projections take it; they did so when it was accepted.
        origin: The process that it came from, where only others than that have told of it.
        step_of: The process whose step it is; empty for most.
        position: Of an event, its global position.
        data: Its payload, secrets masked.
        cause: The message id of its parent; None for a first message.
        processes: Those that have told of it, with how many handlers and projections take it there.
        handlings: In the order of their beginning.
        sent: What it caused, where it is not known by which handler.
        due: When it is to be sent, for one that is scheduled and was not sent yet.
        cancelled: Whether its schedule was cancelled.
    """

    id: str
    type: str = ""
    kind: str = ""
    component: str = ""
    time: float | None = None
    handlers: int | None = None
    projections: int = 0
    origin: str = ""
    step_of: str = ""
    position: int | None = None
    data: Any = None
    cause: str | None = None
    processes: dict[str, tuple[int | None, int]] = field(default_factory=dict, repr=False)
    handlings: list[Handling] = field(default_factory=list)
    sent: "list[Message]" = field(default_factory=list, repr=False)
    due: str = ""
    cancelled: bool = False

    @property
    def unhandled(self) -> bool:
        """Whether it is an event that nobody takes."""
        taken = self.handlers != 0 or self.projections or self.step_of or self.origin
        return self.kind == "event" and not taken

    @property
    def waiting(self) -> int:
        """How many of its handlers have not been heard of."""
        return max(0, (self.handlers or 0) - len({handling.handler for handling in self.handlings}))

    def children(self) -> "Iterator[Message]":
        """Yield what it caused, by whatever handler."""
        for handling in self.handlings:
            yield from handling.sent
        yield from self.sent


def moment(text: Any) -> float | None:
    """Read an RFC 3339 time as seconds since the epoch; None when it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def takers(fact: Fact) -> str:
    """Say where a message came from, and of an event who takes it beside its handlers: "2 projections", or "no handler"."""
    if _text(fact.get("stepof")):
        return "step"
    projections, origin = _whole(fact.get("projections")) or 0, _text(fact.get("origin"))
    told = [f"from {origin}"] if origin else []
    if projections:
        told.append(plural(projections, "projection"))
    elif not origin and kind_of(fact) == "event" and fact.get("handlers") == 0:
        told.append("no handler")
    return ", ".join(told)


def kind_of(fact: Fact) -> str:
    """Tell which kind of message a fact is about.

    A response travels on the query bus and nobody handles it, which tells it from a query.
    """
    bus = fact.get("bus")
    if bus == "query" and fact.get("handlers") == 0:
        return "response"
    return bus if bus in ("command", "query", "event") else "event"


def read_handling(fact: Fact) -> Handling:
    """Read what one fact says of a handling."""
    data = _mapping(fact.get("data"))
    running = fact.get("type") == STARTED
    error = data.get("error")
    sent = data.get("sent")
    return Handling(
        handler=_text(data.get("handler")) or "?",
        message=_text(data.get("message")),
        outcome="running" if running else _text(data.get("outcome")) or "?",
        attempt=_whole(data.get("attempt")) or 1,
        started=moment(fact.get("time")),
        queued_ms=_number(data.get("queued_ms")) or 0.0,
        took_ms=None if running else _number(data.get("took_ms")),
        error=error if isinstance(error, Mapping) else None,
        reason=_text(data.get("reason")),
        process=_text(fact.get("process")),
        sent_ids=tuple(filter(None, map(_text, sent))) if isinstance(sent, list) else (),
    )


def read_message(fact: Fact, message: Message) -> None:
    """Take down what one fact says of a message. Each process that has it tells of it; the one it came from knows most."""
    origin = _text(fact.get("origin"))
    if not message.kind or (message.origin and not origin):
        message.type = _text(fact.get("type"))
        message.kind = kind_of(fact)
        message.component = _text(fact.get("component"))
        message.time = moment(fact.get("time"))
        message.origin = origin
        message.step_of = _text(fact.get("stepof"))
        message.position = _whole(fact.get("position"))
        message.data = fact.get("data")
        message.cause = cause_of(fact) or None
    _count(fact, message)


def _count(fact: Fact, message: Message) -> None:
    """Add up who takes a message in each process. Told twice by one, the larger number holds: it may send to itself."""
    process = _text(fact.get("process"))
    handlers, projections = _whole(fact.get("handlers")), _whole(fact.get("projections")) or 0
    known = message.processes.get(process)
    if known is not None:
        handlers = max(known[0] or 0, handlers or 0)
        projections = max(known[1], projections)
    message.processes[process] = (handlers, projections)
    told = [each for each, _ in message.processes.values() if each is not None]
    message.handlers = sum(told) if told else None
    message.projections = sum(each for _, each in message.processes.values())


def read_schedule(fact: Fact, message: Message) -> None:
    """Take down what one fact says of a message that is to be sent later."""
    data = _mapping(fact.get("data"))
    message.type = _text(data.get("message"))
    message.due = _text(data.get("due")) or "?"
    message.time = moment(fact.get("time"))
    message.cause = cause_of(fact) or None


def scheduled_id(fact: Fact) -> str:
    """Return the id of the message that a fact about a schedule means; empty when it does not say."""
    return _text(_mapping(fact.get("data")).get("messageid"))


def scheduled_name(fact: Fact) -> str:
    """Return the name that a fact about a schedule means; empty when it does not say."""
    return _text(_mapping(fact.get("data")).get("name"))


def id_of(fact: Fact) -> str:
    """Return a fact's own id; empty when it has none."""
    return _text(fact.get("id"))


def cause_of(fact: Fact) -> str:
    """Return the id of the message that caused this one or that is handled; empty when there is none."""
    return _text(fact.get("causationid"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return float(value)
