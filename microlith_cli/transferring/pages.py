"""The events that a session tells, page by page: lines as they are shown and exported.

Keeps one page at a time, whatever the length of the log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from microlith_cli.errors import ConnectionLostError, RefusedError
from microlith_cli.session import LogSession

SILENCE = 600.0
"""Seconds in which an answer must come; looking through a long log for something rare takes its time."""
_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are asked for.

    Attributes:
        after: Events up to this position are left out.
        stream: Only of this stream; None: of all.
        types: Only of these types; empty: of all.
        filter: Terms of the filter language; empty: none.
        reveal: Whether payloads come as they are stored.
        opened: Whether, beside that, their sealed fields are opened.
    """

    after: int = -1
    stream: str | None = None
    types: Sequence[str] = ()
    filter: str = ""
    reveal: bool = False
    opened: bool = False

    def request(self) -> dict[str, Any]:
        """Write it as a request."""
        asked: dict[str, Any] = {"verb": "events", "after": self.after, "reveal": self.reveal, "opened": self.opened}
        asked |= {"stream": self.stream, "types": [*self.types] or None, "filter": self.filter}
        return asked


@dataclass(frozen=True, slots=True)
class Page:
    """Some events as lines, and how far the log goes."""

    lines: Sequence[str]
    cursor: int
    head: int
    more: bool


def newest(session: LogSession, selection: Selection, count: int) -> int:
    """Ask for the cursor behind which the newest so many events are."""
    return _ask(session, {**selection.request(), "newest": count}).cursor


def pages(session: LogSession, selection: Selection, *, cursor: int = -1, follow: bool = False) -> Iterator[Page]:
    """Yield pages up to the end that the log has at the beginning; with `follow`, also what comes then, for ever."""
    until: int | None = None
    while True:
        request = {**selection.request(), "cursor": cursor, "until": until}
        page = _ask(session, request)
        cursor = page.cursor
        until = page.head if until is None else until
        yield page
        if not page.more:
            break
    while follow:
        page = _ask(session, {**selection.request(), "cursor": cursor, "wait": _WAIT})
        cursor = page.cursor
        yield page


def _ask(session: LogSession, request: dict[str, Any]) -> Page:
    reply = last_reply(session, request)
    return Page(reply["events"], int(reply["cursor"]), int(reply["head"]), bool(reply["more"]))


def last_reply(session: LogSession, request: dict[str, Any]) -> dict[str, Any]:
    """Ask for something that has one reply, and may take long.

    Raises:
        RefusedError: The reply is an error.
    """
    for reply in session.request(request, patience=SILENCE):
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", 1)))
        return reply
    raise ConnectionLostError
