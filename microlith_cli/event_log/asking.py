"""The verbs about events: a page of them, and one by its position or id.

A page is short, so that the loop of a running application is never held up; the client asks for the next. Its cursor
is the last place that was looked at: a global position, or a stream position where one stream is asked for.

Knows no sockets, and reads no file.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from pydantic_core import from_json

from microlith.event_store.protocol import RecordedEvent
from microlith.ids import matches, short_id
from microlith.privacy.marking import MARK, SEALED
from microlith.secrecy import reveal
from microlith.serialization import MessageTypes
from microlith_cli.errors import DONE, AmbiguousIdError, ToolError, UsageError
from microlith_cli.event_log.lines import EventLines
from microlith_cli.filtering import compile_filter

Line = dict[str, Any]

PAGE = 500
"""Events in one answer at most."""
LONGEST_WAIT = 30.0
_STEP = 100
_SCANNED = 5000
_BYTES = 256 * 1024
_LOOK_SECONDS = 0.05
_CANDIDATES = 6


class Log(Protocol):
    """An event store, as far as reading goes."""

    async def head(self) -> int:
        """Return the last global position."""
        ...

    async def read(self, stream: str, *, after: int = -1, limit: int = 500) -> list[RecordedEvent]:
        """Read one stream."""
        ...

    async def read_all(
        self, *, after: int = -1, limit: int = 500, types: Collection[str] | None = None
    ) -> list[RecordedEvent]:
        """Read the log."""
        ...


class NoEventError(ToolError):
    """What was typed means no event."""

    def __init__(self, typed: str, head: int) -> None:
        super().__init__(
            f"{typed!r} is no event." if head >= 0 else f"{typed!r} is no event; there are none.",
            hint=f"Positions go from 0 to {head}; there are also @last, @-2 and so on, and the beginning of an id."
            if head >= 0
            else "",
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants to see, with every field checked.

    Attributes:
        cursor: The last place it has seen.
        after: Events up to this position are left out.
        until: Events behind this position are left out; None: up to the head.
        limit: Most events of the answer.
        newest: Do not answer with events but with the cursor behind which so many are left; 0: events.
        stream: Only of this stream; None: of all.
        types: Only of these class names; None: of all.
        passes: The filter; None: all pass.
        wait: Seconds to wait where there is nothing new.
        reveal: Whether payloads come as they are stored.
        opened: Whether, beside that, their sealed fields are opened.
    """

    cursor: int
    after: int
    until: int | None
    limit: int
    newest: int
    stream: str | None
    types: frozenset[str] | None
    passes: Callable[[Mapping[str, Any]], bool] | None
    wait: float
    reveal: bool
    opened: bool

    @classmethod
    def read(cls, request: Mapping[str, Any]) -> "Asked":
        """Check a request.

        Raises:
            UsageError: A field has a value that makes no sense.
        """
        text = request.get("filter") or ""
        stream, names, wait = request.get("stream"), request.get("types"), request.get("wait", 0)
        if not isinstance(text, str) or not (stream is None or isinstance(stream, str)):
            raise UsageError("`filter` and `stream` are texts.")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise UsageError("`types` is a list of type names.")
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= LONGEST_WAIT:
            raise UsageError(f"`wait` is a number of seconds, at most {LONGEST_WAIT:g}.")
        until = None if request.get("until") is None else _number(request, "until", -1)
        return cls(
            _number(request, "cursor", -1),
            _number(request, "after", -1),
            until,
            min(_number(request, "limit", PAGE), PAGE),
            _number(request, "newest", 0),
            stream,
            frozenset(name.rpartition(".")[2] for name in names) if names else None,
            compile_filter(text, handlings=False) if text else None,
            float(wait),
            request.get("reveal") is True,
            request.get("opened") is True,
        )


async def answer(log: Log, types: MessageTypes, app: str, request: Mapping[str, Any]) -> Line:
    """Answer with a page of events, as lines."""
    asked = Asked.read(request)
    lines = EventLines(app, types, reveal=asked.reveal, opened=asked.opened)
    if asked.newest:
        cursor = await (_newest(log, asked, lines) if asked.stream is None else _newest_of_stream(log, asked, lines))
        return {"events": [], "cursor": cursor, "head": await log.head(), "more": True, "end": True, "exit": DONE}
    deadline = monotonic() + asked.wait
    while True:
        head = await log.head()
        found, cursor, more = await _page(log, asked, lines)
        if found or more or monotonic() >= deadline:
            return {"events": found, "cursor": cursor, "head": head, "more": more, "end": True, "exit": DONE}
        while await log.head() == head and monotonic() < deadline:  # noqa: ASYNC110 (a store calls nobody)
            await asyncio.sleep(_LOOK_SECONDS)


async def answer_one(log: Log, types: MessageTypes, app: str, request: Mapping[str, Any]) -> Line:
    """Answer with the one event that somebody means.

    Raises:
        NoEventError: There is none.
        AmbiguousIdError: There are several.
    """
    typed = request.get("named")
    if not isinstance(typed, str) or not typed:
        raise UsageError("An event is named by its position, by an id, or by @last.")
    event = await find_event(log, typed)
    lines = EventLines(app, types, reveal=request.get("reveal") is True)
    copied = _copied(types, event) if request.get("copied") is True else {}
    return {"event": lines.line(event), **copied, "end": True, "exit": DONE}


def _copied(types: MessageTypes, event: RecordedEvent) -> Line:
    """Show an event as a dispatch of the same takes it: its type and fields of today, all in clear."""
    entry = types.of(type(event.message))
    told: Line = {"id": event.message_id, "type": types.shown(entry), "data": reveal(event.message)}
    erased = [name for name, field in entry.personal.items() if _is_erased(event, name, told["data"], field.erased)]
    return {"copied": told | {"erased": erased, "step_of": entry.step_of}}


def _is_erased(event: RecordedEvent, name: str, data: Line, erased: object) -> bool:
    return MARK in event.data and name in from_json(event.data).get(SEALED, ()) and data.get(name) == erased


async def find_event(log: Log, typed: str) -> RecordedEvent:
    """Find the event that a person means: a position, the beginning of an id or short id, @last, @-2.

    Raises:
        NoEventError: There is none.
        AmbiguousIdError: There are several.
    """
    head = await log.head()
    position = _position(typed, head)
    if position is not None:
        return (await log.read_all(after=position - 1, limit=1))[0]
    found: list[RecordedEvent] = []
    after = head
    while after >= 0 and not typed.startswith("@") and len(found) < _CANDIDATES:
        begin = max(-1, after - PAGE)
        for event in await log.read_all(after=begin, limit=after - begin):
            if event.message_id == typed:
                return event
            if matches(event.message_id, typed):
                found.append(event)
        after = begin
        await asyncio.sleep(0)
    if not found:
        raise NoEventError(typed, head)
    if len(found) > 1:
        shown = [f"{event.position} {short_id(event.message_id)} ({event.type})" for event in found]
        raise AmbiguousIdError(typed, shown, hint="Type more of it, or the position")
    return found[0]


def _position(typed: str, head: int) -> int | None:
    """Read a position, or how far from the end; None when it must be an id."""
    back = "1" if typed == "@last" else typed.removeprefix("@-") if typed.startswith("@-") else ""
    if back.isascii() and back.isdigit() and len(back) < 18 and 0 < int(back) <= head + 1:
        return head + 1 - int(back)
    # An id begins with a clock, so with a nought; and a number beyond the log is the beginning of one, too.
    if typed.isascii() and typed.isdigit() and len(typed) < 18 and str(int(typed)) == typed and int(typed) <= head:
        return int(typed)
    return None


async def _page(log: Log, asked: Asked, lines: EventLines) -> tuple[list[str], int, bool]:
    """Read forward until the page is full, enough was looked at, or the end; returns lines, cursor, more."""
    found: list[str] = []
    cursor = asked.cursor if asked.stream is not None else max(asked.cursor, asked.after)
    scanned = size = 0
    while True:
        events = await _reading(log, asked)(cursor)
        for event in events:
            if asked.until is not None and event.position > asked.until:
                return found, cursor, False
            cursor = event.position if asked.stream is None else event.stream_position
            line = _fitting(event, asked, lines)
            if line is not None:
                found.append(line)
                size += len(line)
                if len(found) >= asked.limit or size >= _BYTES:
                    return found, cursor, True
        scanned += len(events)
        if len(events) < _STEP:
            return found, cursor, False
        if scanned >= _SCANNED:
            return found, cursor, True
        await asyncio.sleep(0)


def _reading(log: Log, asked: Asked) -> Callable[[int], Awaitable[list[RecordedEvent]]]:
    stream = asked.stream
    if stream is None:
        return lambda cursor: log.read_all(after=cursor, limit=_STEP, types=asked.types)
    return lambda cursor: log.read(stream, after=cursor, limit=_STEP)


def _fitting(event: RecordedEvent, asked: Asked, lines: EventLines) -> str | None:
    """Write an event that is asked for; None for another."""
    if event.position <= asked.after or (asked.types is not None and event.type not in asked.types):
        return None
    line = lines.line(event)
    return line if asked.passes is None or asked.passes(json.loads(line)) else None


async def _newest(log: Log, asked: Asked, lines: EventLines) -> int:
    """Look from the end for the position behind which so many events are left."""
    after, left = await log.head(), asked.newest
    while after > asked.after:
        begin = max(asked.after, after - PAGE)
        for event in reversed(await log.read_all(after=begin, limit=after - begin)):
            left -= _fitting(event, asked, lines) is not None
            if left == 0:
                return event.position - 1
        after = begin
        await asyncio.sleep(0)
    return asked.after


async def _newest_of_stream(log: Log, asked: Asked, lines: EventLines) -> int:
    """Walk a stream for the stream position behind which so many events are left."""
    kept: list[int] = []
    cursor = -1
    while events := await log.read(asked.stream or "", after=cursor, limit=PAGE):
        cursor = events[-1].stream_position
        kept += [event.stream_position for event in events if _fitting(event, asked, lines) is not None]
        del kept[: -asked.newest]
        await asyncio.sleep(0)
    return kept[0] - 1 if kept else cursor


def _number(request: Mapping[str, Any], field: str, default: int) -> int:
    value = request.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 1 << 62:
        raise UsageError(f"`{field}` is a whole number.")
    return value
