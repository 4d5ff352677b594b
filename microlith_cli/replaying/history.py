"""Recorded events as copies, page by page, from whoever has the log: the running application, or the store at rest."""

from collections.abc import Iterator
from itertools import islice

from microlith.event_store.event_copy import EventCopy
from microlith.serialization import MessageTypes
from microlith_cli.session import LogSession
from microlith_cli.transferring.pages import Selection, pages
from microlith_cli.transferring.parsing import Reading


def recorded(session: LogSession, types: MessageTypes, stream: str | None = None) -> Iterator[tuple[int, EventCopy]]:
    """Yield the events of a stream, or of all, with their global positions: secrets in clear, personal fields opened.

    What was erased reads as erased.
    """
    selection = Selection(stream=stream, reveal=True, opened=True)
    lines = (line for page in pages(session, selection) for line in page.lines)
    return Reading(_Lines(lines), types, unreadable=True).copies()


def names_of_streams(session: LogSession, most: int) -> list[str]:
    """Name the streams of the log's first events, as many of those as are looked at."""
    lines = (line for page in pages(session, Selection(reveal=True)) for line in page.lines)
    copies = Reading(_Lines(lines), MessageTypes(), unreadable=True).copies()
    return list(dict.fromkeys(copy.stream for _, copy in islice(copies, most)))


class _Lines:
    """Lines of text in the shape of a file."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def readline(self, limit: int, /) -> bytes:
        """Return the next line; empty at the end."""
        del limit  # a session tells no line that is too long
        return next((line.encode() + b"\n" for line in self._lines), b"")
