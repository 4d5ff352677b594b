"""Restoring: copies of events are appended as they were recorded elsewhere, in one transaction.

Memory stays flat however many there are: the database's own indexes find an id or a place that is taken. A checksum
is kept every few hundred events, so that the next opening has little to walk.

Runs on the writer's thread; handlers are not told, see `Writer.restore`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic_core import to_json

from microlith.event_store.copies import EventCopy, RestoreError, write_head
from microlith.event_store.database.codec import chained, row_crc
from microlith.event_store.database.session import Session, ValueRefused
from microlith.event_store.database.state import LogState
from microlith.event_store.memory_copies import check_stream_position, duplicate
from microlith.event_store.records import StoredType
from microlith.serialization import MessageTypes

_PAGE = 512
_MOST_STREAMS = 50_000


class Restoring:
    """Copies on their way into a log.

    Attributes:
        count: How many have been written.
    """

    def __init__(self, session: Session, state: LogState, types: MessageTypes) -> None:
        self.count = 0
        self._session = session
        self._state = state
        self._types = types
        self._head = state.head
        self._checksum = state.checksum
        self._streams: dict[str, int] = {}
        self._new_types: list[StoredType] = []

    def run(self, copies: Iterable[EventCopy]) -> None:
        """Write them all, in one transaction.

        Raises:
            RestoreError: Names the first that does not continue the log; nothing was written.
        """
        try:
            self._session.transact(lambda: self._write(iter(copies)), once=True)
        except BaseException:
            for stored in self._new_types:
                self._state.numbered.forget(stored)
            raise
        self._state.restored(self._head, self._checksum)

    def _write(self, copies: Iterator[EventCopy]) -> None:
        while page := list(islice(copies, _PAGE)):
            self._write_page(page)
            self.count += len(page)
            if len(self._streams) > _MOST_STREAMS:
                self._streams.clear()
        self._session.named("move_checkpoints", self._head)
        self._session.ends_at(self._head, self._state.sequence, self._checksum)

    def _write_page(self, page: Sequence[EventCopy]) -> None:
        values: list[Any] = []
        parts: list[bytes] = []
        for copy in page:
            self._head = position = self._head + 1
            stored = self._stored(copy)
            expected = self._stream_head(copy.stream) + 1
            check_stream_position(copy, expected)
            self._streams[copy.stream] = expected
            head = write_head(copy)
            raw = head.encode()
            parts += (stored.words, raw, copy.data)
            values += (position, stored.number, head, copy.data, b"", row_crc(position, stored, raw, copy.data))
        self._checksum = chained(self._checksum, parts)
        values[-2] = self._checksum
        try:
            self._session.attempt(lambda: self._session.insert("insert_events", values, 6))
        except ValueRefused:
            raise self._first_duplicate(page) from None

    def _stored(self, copy: EventCopy) -> StoredType:
        numbered = self._state.numbered
        stored = numbered.named(copy.component, copy.type, copy.version)
        if stored is None:
            self._session.named("insert_type", copy.component, copy.type, copy.version)
            number = self._session.named("select_type", copy.component, copy.type, copy.version)[0][0]
            stored = numbered.add(StoredType(number, copy.component, copy.type, copy.version), self._types)
            self._new_types.append(stored)
        return stored

    def _stream_head(self, stream: str) -> int:
        head = self._streams.get(stream)
        return int(self._session.named("select_stream_head", stream)[0][0]) if head is None else head

    def _first_duplicate(self, page: Sequence[EventCopy]) -> RestoreError:
        ids = to_json([copy.message_id for copy in page]).decode()
        # What this page has inserted before it failed is there, too: only ids from before the page count here.
        first = self._head - len(page) + 1
        seen = {found for (found,) in self._session.named("select_ids_before", first, ids)}
        for copy in page:
            if copy.message_id in seen:
                return duplicate(copy)
            seen.add(copy.message_id)
        return RestoreError(page[0].where, "or one of the next does not fit the log")
