"""What the writer knows of the log without asking the database.

Read when the store is opened; afterwards a batch that was committed brings it up to date, and one that was rolled back
leaves no trace. Read anew when the database turns out to know more.

Used by the writer's thread; others read `head` only.
"""

from collections.abc import Collection

from pydantic_core import to_json

from microlith.event_store.database.codec import StoredTypes
from microlith.event_store.database.session import Session

_MOST_STREAMS = 100_000


class LogState:
    """The newest facts about the log.

    Attributes:
        head: Last global position; -1 for an empty log.
        checksum: Chained checksum of the last event.
        sequence: Last number given to a command.
        pending: Commands that are not settled: message id to number.
        checkpoints: Handler to its checkpoint.
        finished: Handler to the positions above its checkpoint that it is finished with.
        tried: (handler, message id) of events with a count of attempts.
        numbered: Numbers of message types.
    """

    def __init__(self, session: Session, numbered: StoredTypes, head: int, checksum: bytes, sequence: int) -> None:
        self.numbered = numbered
        self._session = session
        self.renew(head, checksum, sequence)

    def renew(self, head: int, checksum: bytes, sequence: int) -> None:
        """Read everything anew, for a log that ends there."""
        session = self._session
        self.head = head
        self.checksum = checksum
        self.sequence = sequence
        self.pending: dict[str, int] = dict(session.named("select_pending_ids"))
        self.checkpoints: dict[str, int] = dict(session.named("select_checkpoints"))
        self.finished: dict[str, set[int]] = {}
        for handler, position in session.named("select_finished"):
            self.finished.setdefault(handler, set()).add(position)
        self.tried: set[tuple[str, str]] = set(session.named("select_attempts"))
        self._streams: dict[str, int] = {}

    def follow(self, head: int, checksum: bytes, sequence: int) -> None:
        """Take note that others have written, up to there, who share the log and do not lead.

        What a leader alone changes, such as checkpoints, is as it was.
        """
        self.head = head
        self.checksum = checksum
        self.sequence = sequence
        self._streams.clear()

    def learn_pending(self) -> None:
        """Read anew which commands are not settled, those of others among them."""
        self.pending = dict(self._session.named("select_pending_ids"))

    def is_bare(self) -> bool:
        """Tell whether nothing was ever written."""
        return self.head < 0 and not self.sequence and not self._session.named("select_any_schedule")

    def stream_head(self, stream: str) -> int:
        """Return the last position in a stream; -1 for none."""
        head = self._streams.get(stream)
        if head is None:
            if len(self._streams) >= _MOST_STREAMS:
                self._streams.clear()
            head = self._streams[stream] = int(self._session.named("select_stream_head", stream)[0][0])
        return head

    def learn_heads(self, streams: Collection[str]) -> None:
        """Find out about several streams at once, where each question costs a round trip."""
        unknown = [stream for stream in streams if stream not in self._streams]
        if len(unknown) > 1:
            if len(self._streams) >= _MOST_STREAMS:
                self._streams.clear()
            self._streams.update(self._session.named("select_stream_heads", to_json(unknown).decode()))

    def move_streams(self, heads: dict[str, int]) -> None:
        """Take over the stream heads of a committed batch."""
        self._streams.update(heads)

    def restored(self, head: int, checksum: bytes) -> None:
        """Take over copies of events that were committed; every handler is behind them now."""
        self.head = head
        self.checksum = checksum
        self._streams.clear()
        for handler in list(self.checkpoints):
            self.move_checkpoint(handler, head)

    def is_finished(self, handler: str, position: int) -> bool:
        """Tell whether a handler is finished with a position."""
        return position <= self.checkpoints.get(handler, -1) or position in self.finished.get(handler, ())

    def move_checkpoint(self, handler: str, checkpoint: int) -> None:
        """Move a handler's checkpoint and forget the positions below it."""
        self.checkpoints[handler] = checkpoint
        finished = self.finished.get(handler)
        if finished:
            above = {position for position in finished if position > checkpoint}
            if above:
                self.finished[handler] = above
            else:
                del self.finished[handler]
