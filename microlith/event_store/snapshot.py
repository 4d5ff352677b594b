"""A snapshot: the state that a stream had been folded into by one of its positions.

It only saves time: whoever finds one that is damaged, does not fit or is not there folds the events.

Knows bytes and positions; what they mean is known to whoever made them.
"""

from hashlib import blake2b
from typing import NamedTuple, Protocol


class Snapshot(NamedTuple):
    """The state of one stream at one position.

    Attributes:
        stream: The stream.
        owner: Whose state it is, such as "Account": two may fold the same stream, each in its own way.
        position: Stream position of the last event that is folded in.
        fingerprint: Changes with the shape of the state and with how it is folded.
        data: The state.
        checksum: Covers all of this.
    """

    stream: str
    owner: str
    position: int
    fingerprint: str
    data: bytes
    checksum: bytes

    @classmethod
    def of(cls, stream: str, owner: str, position: int, fingerprint: str, data: bytes) -> "Snapshot":
        """Make one with its checksum."""
        return cls(stream, owner, position, fingerprint, data, _sum(stream, owner, position, fingerprint, data))

    @property
    def is_sound(self) -> bool:
        """Whether it matches its checksum."""
        try:
            return _sum(*self[:5]) == self.checksum
        except (AttributeError, TypeError):  # a damaged row may hold values of other types
            return False

    def fault(self, last: int) -> str | None:
        """Say why it is of no use for a stream whose last position is `last`; None when it is."""
        if not self.is_sound:
            return "its bytes do not match their checksum"
        if self.position > last:
            return f"it is of stream position {self.position}, which the stream does not have"
        return None


class SnapshotCheck(NamedTuple):
    """What a look at all snapshots found: how many there are, and for each bad one its stream and what is wrong."""

    checked: int
    faults: list[str]


class SnapshotStore(Protocol):
    """What an event store does for snapshots. One is kept for each stream and owner.

    A snapshot is written after the events it holds, never before, and may be lost at any time.
    """

    @property
    def erasures(self) -> int:
        """Grows by one when an erasure begins and when it ends: it is odd in between.

        State that was read at one number may hold what is erased at another, and is not kept then; nor at an odd one.
        """
        ...

    async def snapshot(self, stream: str, owner: str) -> Snapshot | None:
        """Read a snapshot as it is stored: perhaps damaged; None when there is none.

        Raises:
            CorruptionError: What holds it is damaged.
        """
        ...

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot of its stream and owner. Committed soon, with the writes around it; never raises."""
        ...

    def drop_snapshot(self, stream: str, owner: str) -> None:
        """Remove a snapshot. Committed soon, with the writes around it; never raises."""
        ...

    async def drop_snapshots(self) -> int:
        """Remove all snapshots, after the writes handed in so far; return how many there were."""
        ...

    async def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot, as `fault` does. Changes nothing."""
        ...


def _sum(stream: str, owner: str, position: int, fingerprint: str, data: bytes) -> bytes:
    words = f"{len(stream)},{len(owner)},{position},{fingerprint},{stream}{owner}".encode("utf-8", "surrogatepass")
    return blake2b(words + b"\0" + data, digest_size=16).digest()
