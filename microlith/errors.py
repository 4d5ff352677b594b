"""The errors that microlith raises, one class per mistake.

    MicrolithError
    ├── WiringError             an application that cannot start as written
    │   ├── DuplicateHandlerError     a command or query with two handlers
    │   ├── InjectionError            a handler parameter nothing can fill
    │   ├── DuplicateNameError        two things of one name
    │   └── DiscoveryError            a component's module that does not import
    ├── UnknownTypeError        a message type nobody declared
    ├── WrongBusError           a message on a bus of another kind
    ├── NoHandlerError          a command or query that nobody handles
    ├── PayloadError            a payload that does not validate
    │   └── UnsafePayloadError        too large, too deep, not JSON: refused before anything is stored
    ├── NotRunningError         a bus used before start or after stop
    ├── ForeignLoopError        a bus used from another event loop
    ├── BusFullError            more messages under way than the bus may hold
    ├── SentWhileFoldingError   a projection or an aggregate's state sends or waits
    ├── CascadeTooDeepError     messages that cause messages without end
    ├── HandlerFailedError      a handler raised; its error is the cause
    ├── WaitTimeout             a wait ran out of time (also a TimeoutError)
    ├── ProjectionsBehindError  projections did not get as far as they were waited for (also a TimeoutError)
    ├── ClosedError             the application stopped while somebody waited
    └── StoreError              the event store
        ├── PositionConflictError     another writer came first
        ├── StoreLockedError          another process owns the store
        ├── StoreUnavailableError     the write certainly did not happen
        │   └── StoreAwayError              its database cannot be reached for the time being
        ├── UnknownOutcomeError       the write may have happened; the same message id is safe to send again
        ├── UnknownProjectionError    a projection that the store was not opened with
        └── CorruptionError           stored bytes do not match their checksum

Every error says what went wrong, with which value, and in `hint` what to do.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any, NamedTuple

from microlith.plurals import plural


def text_of(error: BaseException | None) -> str:
    """Return the text of any error, also of one that cannot say it."""
    try:
        return str(error)
    except Exception as unsaid:  # noqa: BLE001 (the class is the application's, and so is its mistake)
        return f"its text could not be made: {type(unsaid).__name__}"


_KIND = re.compile(r"(?<=.)_?(?:command|event|request|query|response|raised)$", re.IGNORECASE)
_NAME_SHOWN = 100
"""Characters of a name that was given and not found."""


class MicrolithError(Exception):
    """Something microlith refused or could not do.

    Attributes:
        hint: What to do about it, one sentence; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def nearest(name: str, names: Collection[str]) -> str | None:
    """Find the name that was most likely meant, or None when none is close.

    What a name says of its kind does not count: two commands are not alike for being commands.
    """
    stems: dict[str, list[str]] = {}
    for known in names:
        stems.setdefault(_KIND.sub("", known).lower(), []).append(known)
    close = get_close_matches(_KIND.sub("", name).lower(), stems, n=1, cutoff=0.55)
    return max(stems[close[0]], key=lambda known: SequenceMatcher(None, known, name).ratio()) if close else None


class WiringError(MicrolithError):
    """The application cannot start as it is written."""


class DuplicateHandlerError(WiringError):
    """A command or query has two handlers; it may have only one."""

    def __init__(self, message_name: str, first: str, second: str) -> None:
        super().__init__(
            f"{message_name} has two handlers: {first} and {second}.",
            hint="A command or query has exactly one handler: remove one, or make the message an event.",
        )
        self.message_name = message_name


class DuplicateNameError(WiringError):
    """Two things carry one name that must be unique."""

    def __init__(self, what: str, name: str, first: str, second: str) -> None:
        super().__init__(f"Two {what} are named {name!r}: {first} and {second}.", hint="Rename one of them.")
        self.name = name


class InjectionError(WiringError):
    """A handler asks for something that nothing provides."""

    def __init__(self, handler: str, parameter: str, annotation: object, *, hint: str) -> None:
        super().__init__(f"Handler {handler}: nothing fills parameter {parameter!r} ({annotation}).", hint=hint)
        self.handler = handler
        self.parameter = parameter


class DiscoveryError(WiringError):
    """A module of a component could not be imported; the reason is the cause."""

    def __init__(self, module: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"Cannot import {module}: {reason}", hint=hint)
        self.module = module


class UnknownTypeError(MicrolithError):
    """A message type that no component declares."""

    def __init__(self, name: str, known: Collection[str], *, where: str = "") -> None:
        name = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…"
        close = nearest(name, known)
        place = f" at {where}" if where else ""
        super().__init__(
            f"No message type is named {name!r}{place}; {len(known)} are known.",
            hint=f"Did you mean {close!r}?" if close else "`microlith list` shows every message type.",
        )
        self.name = name


class AmbiguousTypeError(MicrolithError):
    """A class name that two components use."""

    def __init__(self, name: str, candidates: Sequence[str]) -> None:
        super().__init__(
            f"{name!r} could be {' or '.join(candidates)}.", hint=f"Write the component too, such as {candidates[0]!r}."
        )
        self.candidates = tuple(candidates)


class WrongBusError(MicrolithError):
    """A message was handed to a bus that carries another kind."""

    def __init__(self, message_name: str, kind: str, bus: str) -> None:
        super().__init__(
            f"{message_name} is {'an' if kind == 'event' else 'a'} {kind}; the {bus} bus does not carry it.",
            hint="A query's response is what its handler returns."
            if kind == "response"
            else f"Dispatch it on the {kind} bus.",
        )
        self.message_name = message_name


class NoHandlerError(MicrolithError):
    """A command or query was dispatched, and no component handles it."""

    def __init__(self, message_name: str, handled: Collection[str], elsewhere: str = "") -> None:
        """Say that nobody handles a message; or who does in another process, named by component and function."""
        self.message_name = message_name
        if elsewhere:
            super().__init__(
                f"{elsewhere} handles {message_name!r}, and does not run in this process.",
                hint=f"Run component {elsewhere.partition('.')[0]} here, too, or give the bus a broker: "
                "[tool.microlith.buses].",
            )
            return
        close = nearest(message_name, [name for name in handled if name != message_name])
        super().__init__(
            f"No handler for {message_name!r}; {plural(len(handled), 'other message type')} {'has' if len(handled) == 1 else 'have'} one.",
            hint=(f"Did you mean {close!r}? Otherwise decorate" if close else "Decorate")
            + f" a function with `@component.handles({message_name})`.",
        )


class PayloadError(MicrolithError):
    """A payload does not fit its message type; nothing was sent or stored.

    Attributes:
        problems: One mapping per problem: field (dotted), problem, nearest (a field name or None).
            Never holds a given value.
    """

    def __init__(
        self, type_name: str, problems: Sequence[Mapping[str, Any]], *, stored: int | None = None, hint: str = ""
    ) -> None:
        self.type_name = type_name
        self.problems = tuple(dict(problem) for problem in problems)
        what, after = "The payload", ""
        if stored is not None:
            what = f"A payload stored as version {stored}"
            after = "; a field that changes needs a default, or the class a new version and an upcaster"
        lines = [f"{p['field'] or 'payload'}: {p['problem']}" for p in self.problems]
        guesses = [p["nearest"] for p in self.problems if p.get("nearest")]
        super().__init__(
            f"{what} does not fit {type_name}: " + "; ".join(lines) + after,
            hint=hint
            or (
                f"Did you mean {guesses[0]!r}?"
                if guesses
                else f"`microlith dispatch {type_name} --help` shows the fields."
            ),
        )


class UnsafePayloadError(PayloadError):
    """A payload was refused before it was even decoded; nothing was stored."""

    def __init__(self, type_name: str, problem: str) -> None:
        super().__init__(type_name, [{"field": "", "problem": problem, "nearest": None}])


class NotRunningError(MicrolithError):
    """A bus was used while its application is not running."""

    def __init__(self, app_name: str) -> None:
        super().__init__(
            f"The microlith {app_name!r} is not running; nothing was sent.",
            hint="Use it inside `async with app:`, or between `await app.start()` and `await app.stop()`.",
        )


class ForeignLoopError(MicrolithError):
    """A bus was used from an event loop other than its own."""

    def __init__(self, app_name: str) -> None:
        super().__init__(
            f"The microlith {app_name!r} runs on another event loop; nothing was sent.",
            hint="Use each application from the loop that started it; threads without a loop may dispatch.",
        )


class BusFullError(MicrolithError):
    """More messages are under way than the bus may hold; this one was not sent."""

    def __init__(self, bus: str, limit: int) -> None:
        super().__init__(
            f"The {bus} bus holds {limit} unhandled messages; this one was not sent.",
            hint="Await the receipt of each dispatch: that slows the sender to the speed of the handlers.",
        )
        self.limit = limit


class SentWhileFoldingError(MicrolithError):
    """Something was sent, or waited for, while events were folded: by a projection, or for the state of an aggregate.

    Attributes:
        name: The projection, such as "auth.users", or the aggregate.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} folds events, and what folds events may neither send nor wait; nothing was sent.",
            hint="Events are folded again whenever that is useful. React in a handler: `@component.handles(Event)`.",
        )
        self.name = name


class CascadeTooDeepError(MicrolithError):
    """Messages keep causing messages; the one over the limit was refused."""

    def __init__(self, type_name: str, limit: int, chain: Sequence[str]) -> None:
        shown = " → ".join(chain)
        super().__init__(
            f"{type_name} would be number {limit + 1} in one chain of messages; it was not sent. Last: {shown}",
            hint="Look for a handler that answers its own event, or raise `max_depth` on the application.",
        )
        self.chain = tuple(chain)


class HandlerFailedError(MicrolithError):
    """A handler raised an error, which is the `__cause__` of this one."""

    def __init__(self, handler: str, message_name: str, reason: str) -> None:
        super().__init__(
            f"Handler {handler} failed on {message_name}: {reason}",
            hint="`microlith trace @failed` shows the tree it failed in.",
        )
        self.handler = handler
        self.message_name = message_name
        self.reason = reason


class WaitTimeout(MicrolithError, TimeoutError):  # noqa: N818 (the name is public and fixed; it is a TimeoutError)
    """A wait ran out of time. The awaited message may still come; a second wait finds it.

    Attributes:
        report: What did happen: `arrived` (type names), `ran` (handler and outcome), `running`
            (handler and milliseconds so far), `waiting` (handler, message, and how many are queued there),
            `missing` (type names), `could_emit` (type name to handlers), `elsewhere` (components of other
            processes that it may wait for), `away` (brokers that are away: broker, since, seconds, why).
    """

    def __init__(self, wanted: Sequence[str], correlation_id: str, timeout: float, report: Mapping[str, Any]) -> None:
        self.report = dict(report)
        self.correlation_id = correlation_id
        said = [
            f"{' or '.join(wanted)} did not come within {timeout:g} s (correlation {correlation_id[:_NAME_SHOWN]})."
        ]
        if report.get("arrived"):
            said.append(f"Arrived: {', '.join(report['arrived'])}.")
        if report.get("running"):
            said.append(
                "Still running: " + ", ".join(f"{r['handler']} ({r['ms']:.0f} ms)" for r in report["running"]) + "."
            )
        if report.get("waiting"):
            said.append(
                "Not begun: "
                + ", ".join(f"{r['handler']} ({r['message']}, {r['queued']} queued)" for r in report["waiting"])
                + "."
            )
        if report.get("ran"):
            said.append("Ran: " + ", ".join(f"{r['handler']} ({r['outcome']})" for r in report["ran"]) + ".")
        said += [
            f"{one['broker']} has been away for {one['seconds']:.0f} s, since {one['since']}: {one['why'].rstrip('.')}."
            for one in report.get("away", ())
        ]
        super().__init__(" ".join(said), hint=_what_is_missing(report))


def _what_is_missing(report: Mapping[str, Any]) -> str:
    """Say where what did not come would come from, and what may keep it."""
    could_emit = report.get("could_emit", {})
    emitters = [f"{name} comes from {', '.join(who)}" for name, who in could_emit.items() if who]
    orphans = [f"no handler declares that it returns {name}" for name, who in could_emit.items() if not who]
    said = ["; ".join(emitters + orphans) + "."] if could_emit else []
    # A component cannot be heard of while a broker is away, whether it runs or not.
    elsewhere = () if report.get("away") else report.get("elsewhere", ())
    said += [
        f"Component {name} runs in another process, which may not be running: `microlith run --component {name}`."
        for name in elsewhere
    ]
    return " ".join(said)


class Behind(NamedTuple):
    """A projection that has not passed the events that somebody waited for.

    Attributes:
        name: Its full name, such as "auth.users".
        events: How many positions it has to go.
        error: Why it has stopped; None while it is on its way.
    """

    name: str
    events: int
    error: str | None


class ProjectionsBehindError(MicrolithError, TimeoutError):
    """What was waited for came, but some projections did not get as far in time. Nothing is undone.

    Attributes:
        behind: The projections, each with how much is left.
        message: The message that came.
    """

    def __init__(self, behind: Sequence[Behind], timeout: float, message: Any) -> None:
        told = [
            f"{one.name} is {one.events} {'event' if one.events == 1 else 'events'} behind"
            + ("" if one.error is None else f", where it stopped ({one.error})")
            for one in behind
        ]
        stopped = next((one.name for one in behind if one.error is not None), None)
        super().__init__(
            f"{type(message).__name__} came, but {'; '.join(told)}"
            + (f" after {timeout:g} s." if stopped is None else "."),
            hint="Take the answer as it is with `allow_stale=True`, or wait longer."
            if stopped is None
            else f"Correct what {stopped} does and start again; waiting longer does not help.",
        )
        self.behind = tuple(behind)
        self.message = message


class ClosedError(MicrolithError):
    """The application stopped while somebody was waiting."""

    def __init__(self, app_name: str) -> None:
        super().__init__(
            f"The microlith {app_name!r} stopped before the wait was met.",
            hint="Accepted messages are carried on at the next start; wait again then.",
        )


class StoreError(MicrolithError):
    """The event store refused or failed."""


class PositionConflictError(StoreError):
    """Another writer came first; nothing of the batch was written.

    Attributes:
        expected_position: What the writer believed to be the stream's last position (-1: new stream).
        actual_position: The stream's last position.
    """

    def __init__(self, stream: str, expected_position: int, actual_position: int) -> None:
        super().__init__(
            f"Stream {stream!r} is at position {actual_position}, not {expected_position}; nothing was written.",
            hint="Read the stream again and decide anew.",
        )
        self.stream = stream
        self.expected_position = expected_position
        self.actual_position = actual_position


class StoreLockedError(StoreError):
    """Another process owns the store; nothing was touched."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(
            f"{path} is owned by {owner}.", hint="Stop that process, or talk to it with `microlith dispatch`."
        )


class StoreUnavailableError(StoreError):
    """The store could not write; the messages were certainly not recorded."""

    def __init__(self, reason: str, *, hint: str = "Mend the cause and send the messages again.") -> None:
        super().__init__(f"The event store did not record the messages: {reason}", hint=hint)


class StoreAwayError(StoreUnavailableError):
    """The database of the store cannot be reached, or lets nobody write; the store goes on when it is back.

    Whatever was asked of it certainly did not happen.
    """

    def __init__(self, place: str, reason: str) -> None:
        StoreError.__init__(
            self,
            f"The event store {place} cannot be reached: {reason}.",
            hint="Start its server, or correct the store's url.",
        )


class UnknownOutcomeError(StoreError):
    """A commit failed half-way; the messages may or may not be recorded."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The event store failed while committing: {reason}. The messages may be recorded.",
            hint="Sending the same envelopes again is safe: a recorded message id is not recorded twice.",
        )


class UnknownProjectionError(StoreError):
    """A projection was named that no component declares."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        close = nearest(name, known)
        super().__init__(
            f"No projection is named {name!r}; {len(known)} are known.",
            hint=f"Did you mean {close!r}?" if close else f"Known: {', '.join(sorted(known)) or 'none'}.",
        )
        self.name = name


class CorruptionError(StoreError):
    """Stored bytes do not match their checksum; they are not served."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"The event log is damaged at {where}: {reason}.",
            hint="Restore a backup; `microlith doctor --verify` shows how far the log is sound.",
        )
