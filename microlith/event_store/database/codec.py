"""Rows of the log as bytes: two checksums, and reading them back.

`crc` covers one row and is checked whenever the row is read. `checksum`, in the last row of each commit, covers the
rows of that commit and the checksum before, so that no row can be changed, moved or left out behind the others' backs;
`verify` and `open` check it.

Opens no connection.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import repeat
from operator import xor
from zlib import crc32

from microlith.errors import CorruptionError, UnknownTypeError
from microlith.event_store.protocol import RecordedEvent
from microlith.event_store.records import Decoding, StoredEvent, StoredType
from microlith.serialization import MessageType, MessageTypes

NO_CHECKSUM = bytes(16)
Row = tuple[int, bytes, bytes, int]


class StoredTypes:
    """The numbers of message types, both ways. Filled when the store is opened.

    Attributes:
        by_number: Every type that was ever stored.
        seeds: Where the checksum of a row of each type starts.
    """

    def __init__(self, rows: Iterable[tuple[int, str, str, int]], types: MessageTypes) -> None:
        self.by_number = {row[0]: StoredType(*row) for row in rows}
        self._by_words = {(one.component, one.type, one.version): one for one in self.by_number.values()}
        self.seeds = {number: one.seed for number, one in self.by_number.items()}
        for one in self.by_number.values():
            one.resolve(types)

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

    def named(self, component: str, type: str, version: int) -> StoredType | None:  # noqa: A002 (as in every record)
        """Return the stored form of a type that was stored before, declared or not; None when it never was."""
        return self._by_words.get((component, type, version))

    def add(self, stored: StoredType, types: MessageTypes) -> StoredType:
        """Take in a type that was numbered after the opening, under the words it is stored with."""
        self._by_words[stored.component, stored.type, stored.version] = stored
        self.by_number[stored.number] = stored
        self.seeds[stored.number] = stored.seed
        stored.resolve(types)
        return stored

    def forget(self, stored: StoredType) -> None:
        """Take a type out again: its number was not kept."""
        self._by_words = {words: one for words, one in self._by_words.items() if one is not stored}
        self.by_number.pop(stored.number, None)
        self.seeds.pop(stored.number, None)

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of all types with one of these class names."""
        wanted = set(names)
        return [number for number, one in self.by_number.items() if one.type in wanted]


def row_crc(position: int, stored: StoredType, head: bytes, data: bytes) -> int:
    """Compute the checksum of one row; the position is folded in so that rows cannot change places."""
    return crc32(data, crc32(head, stored.seed)) ^ position


def is_sound(position: int, row: Row, numbered: StoredTypes) -> bool:
    """Tell whether a row matches its checksum."""
    number, head, data, crc = row
    stored = numbered.by_number.get(number)
    if stored is None or type(head) is not bytes or type(data) is not bytes:
        return False
    return row_crc(position, stored, head, data) == crc


def chained(previous: bytes, parts: Iterable[bytes]) -> bytes:
    """Compute the checksum of a commit and of all before it; the parts are words, head and payload of each row."""
    return blake2b(b"".join((previous, *parts)), digest_size=len(NO_CHECKSUM)).digest()


class ChainCheck:
    """Walks rows in order and compares the checksum of each commit.

    Attributes:
        position: The last row that was added.
        checksum: The last checksum that was right.
        whole: Whether that one was the checksum of this row, as it must be at the end of a log.
    """

    def __init__(self, position: int = -1, checksum: bytes = NO_CHECKSUM) -> None:
        self.position = position
        self.checksum = checksum
        self.whole = True
        self._hash = blake2b(checksum, digest_size=len(NO_CHECKSUM))

    def add(self, position: int, stored: StoredType, head: bytes, data: bytes, kept: bytes) -> None:
        """Add a row with the checksum it holds; only the last of a commit holds one.

        Raises:
            CorruptionError: It is not the right one.
        """
        for part in (stored.words, head, data):
            self._hash.update(part)
        self.position = position
        self.whole = bool(kept)
        if kept:
            if self._hash.digest() != kept:
                raise damaged(position)
            self.checksum = kept
            self._hash = blake2b(kept, digest_size=len(NO_CHECKSUM))


def read_events(
    positions: Sequence[int], rows: Sequence[Row], numbered: StoredTypes, decoding: Decoding
) -> list[RecordedEvent]:
    """Turn rows and their positions into events.

    Raises:
        CorruptionError: Names the first row that does not match its checksum.
    """
    if not rows:
        return []
    numbers, heads, payloads, crcs = zip(*rows, strict=True)
    try:
        # As row_crc does it, for all rows at once: that takes half the time.
        seeds = map(numbered.seeds.__getitem__, numbers)
        computed = list(map(xor, map(crc32, payloads, map(crc32, heads, seeds)), positions))
    except (LookupError, TypeError):  # a damaged row may also have values of other types
        computed = []
    if computed != list(crcs):
        unsound = (at for at, row in zip(positions, rows, strict=True) if not is_sound(at, row, numbered))
        raise damaged(next(unsound, positions[0]))
    types = map(numbered.by_number.__getitem__, numbers)
    return list(map(StoredEvent, positions, types, heads, payloads, repeat(decoding)))


def damaged(position: int) -> CorruptionError:
    """Build the error for a row that does not match its checksum."""
    return CorruptionError(f"position {position}", "the stored bytes do not match their checksum")


def missing(position: int) -> CorruptionError:
    """Build the error for a position that should be there and is not."""
    return CorruptionError(f"position {position}", "the event is missing")


def misplaced(position: int) -> CorruptionError:
    """Build the error for a row that an index gives for a key it does not have."""
    return CorruptionError(f"position {position}", "an index names it for a stream or correlation it is not in")
