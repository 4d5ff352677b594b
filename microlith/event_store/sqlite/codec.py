"""Rows of the log as bytes: two checksums, and reading them back.

`crc` covers one row and is checked whenever the row is read. `checksum` also covers the row before, so that no row can
be changed, moved or left out behind the others' backs; `verify` and `open` check it.

Opens no connection.
"""

from collections.abc import Iterable
from hashlib import blake2b
from zlib import crc32

from microlith.errors import CorruptionError, UnknownTypeError
from microlith.event_store.protocol import RecordedEvent
from microlith.event_store.records import StoredEvent, StoredType
from microlith.serialization import MessageType, MessageTypes

NO_CHECKSUM = bytes(16)
Row = tuple[int, int, bytes, bytes, int]
ChainRow = tuple[int, int, bytes, bytes, int, bytes]


class StoredTypes:
    """The numbers of message types, both ways. Filled when the store is opened."""

    def __init__(self, rows: Iterable[tuple[int, str, str, int]] = ()) -> None:
        self.by_number = {row[0]: StoredType(*row) for row in rows}
        self._by_words = {(one.component, one.type, one.version): one for one in self.by_number.values()}

    def of(self, entry: MessageType) -> StoredType:
        """Return the stored form of a declared type.

        Raises:
            UnknownTypeError: It was declared after the store was opened.
        """
        try:
            return self._by_words[entry.component, entry.name, entry.version]
        except KeyError:
            known = [one.type for one in self.by_number.values()]
            raise UnknownTypeError(entry.name, known, where="the opening of the store") from None

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of all types with one of these class names."""
        wanted = set(names)
        return [number for number, one in self.by_number.items() if one.type in wanted]


def row_crc(position: int, stored: StoredType, head: bytes, data: bytes) -> int:
    """Compute the checksum of one row; the position is folded in so that rows cannot change places."""
    return crc32(data, crc32(head, stored.seed)) ^ position


def chained(previous: bytes, stored: StoredType, head: bytes, data: bytes) -> bytes:
    """Compute the checksum of a row and of all before it."""
    return blake2b(b"".join((previous, stored.words, head, data)), digest_size=16).digest()


def read_events(rows: Iterable[Row], numbered: StoredTypes, types: MessageTypes) -> list[RecordedEvent]:
    """Turn rows into events.

    Raises:
        CorruptionError: Names the first row that does not match its checksum.
    """
    by_number = numbered.by_number
    events: list[RecordedEvent] = []
    append = events.append
    for position, number, head, data, crc in rows:
        stored = by_number.get(number)
        # As row_crc does it; a call for each row would cost a tenth of the whole reading.
        if stored is None or crc32(data, crc32(head, stored.seed)) ^ position != crc:
            raise damaged(position)
        append(StoredEvent(position, stored, head, data, types))
    return events


def damaged(position: int) -> CorruptionError:
    """Build the error for a row that does not match its checksum."""
    return CorruptionError(f"position {position}", "the stored bytes do not match their checksum")


def missing(position: int) -> CorruptionError:
    """Build the error for a position that should be there and is not."""
    return CorruptionError(f"position {position}", "the event is missing")
