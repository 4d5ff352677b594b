"""Events as they stand in a log: just appended, or read back from bytes.

Both show the same facts (see `RecordedEvent`). What costs time is done when it is first asked for: an appended event
is encoded late, a stored one decoded late.

Checks no checksums; the store that reads the bytes does.
"""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

from pydantic_core import from_json, to_json

from microlith.envelope import Envelope
from microlith.errors import StoreError, UnknownTypeError, UnsafePayloadError
from microlith.messages import Message
from microlith.serialization import MessageTypes

MICROSECONDS = 1_000_000
_NUL = "\\u0000"


class AppendedEvent:
    """An event that this process appended; it still has its envelope."""

    __slots__ = ("_data", "_types", "component", "envelope", "position", "stream", "stream_position", "type", "version")

    def __init__(
        self,
        envelope: Envelope[Any],
        types: MessageTypes,
        position: int,
        stream: str,
        stream_position: int,
        data: bytes | None = None,
    ) -> None:
        entry = types.of(type(envelope.message))
        self.envelope = envelope
        self.position = position
        self.stream = stream
        self.stream_position = stream_position
        self.type = entry.name
        self.component = entry.component
        self.version = entry.version
        self._types = types
        self._data = data

    @property
    def message_id(self) -> str:
        """Identity of the message."""
        return self.envelope.message_id

    @property
    def correlation_id(self) -> str:
        """Shared by everything that one first message started."""
        return self.envelope.correlation_id

    @property
    def causation_id(self) -> str | None:
        """Message id of the direct parent."""
        return self.envelope.causation_id

    @property
    def time(self) -> float:
        """When the message was made, seconds since the epoch."""
        return self.envelope.time

    @property
    def depth(self) -> int:
        """Messages between it and the first one."""
        return self.envelope.depth

    @property
    def headers(self) -> Mapping[str, str] | None:
        """Free text pairs."""
        return self.envelope.headers

    @property
    def data(self) -> bytes:
        """The payload as JSON, secrets in clear."""
        if self._data is None:
            self._data = self._types.encode(self.envelope.message)
        return self._data

    @property
    def message(self) -> Message:
        """The message as it was sent."""
        message: Message = self.envelope.message
        return message

    def __repr__(self) -> str:
        return f"AppendedEvent({self.component}.{self.type} at {self.position})"


class StoredType:
    """A message type as a log names it: a number in each row, the words once.

    Attributes:
        component: Component that declares it.
        type: Class name.
        version: Version of the shape.
        number: What stands for it in rows.
        words: Component, class name and version as bytes; checksums cover them.
        seed: Checksum of the words, where a row's checksum starts.
    """

    __slots__ = ("component", "number", "seed", "type", "version", "words")

    def __init__(self, number: int, component: str, type: str, version: int) -> None:  # noqa: A002 (as in every record)
        self.number = number
        self.component = component
        self.type = type
        self.version = version
        self.words = f"{component}.{type}/{version}\n".encode()
        self.seed = crc32(self.words)


def write_facts(envelope: Envelope[Any]) -> str:
    """Write what an envelope knows beside its message: the end of a head, which is a JSON array.

    Raises:
        UnsafePayloadError: A text in it holds a NUL or is not Unicode.
    """
    headers = envelope.headers
    facts = (
        envelope.message_id,
        envelope.correlation_id,
        envelope.causation_id,
        round(envelope.time * MICROSECONDS),
        envelope.depth,
        dict(headers) if headers else None,
    )
    try:
        text = to_json(facts).decode()
    except ValueError:
        text = _NUL
    if _NUL in text:
        raise UnsafePayloadError(
            type(envelope.message).__name__, "has an id or a header with a NUL or half a character"
        )
    return text[1:]


def write_stream(stream: str) -> str:
    """Write the name of a stream: the beginning of a head.

    Raises:
        StreamNameError: It is empty, holds a NUL or is not Unicode.
    """
    try:
        text = to_json(stream).decode()
    except ValueError:
        text = _NUL
    if not stream or _NUL in text:
        raise StreamNameError(stream)
    return f"[{text},"


class StreamNameError(StoreError):
    """A stream has a name that cannot be stored; nothing was written."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"{stream!r} cannot name a stream.", hint="Use a text without NUL, such as 'order-42'.")


class StoredEvent:
    """An event read back. Its head and its payload are decoded when first asked for."""

    __slots__ = ("_head", "_message", "_stored", "_types", "data", "position")

    def __init__(self, position: int, stored: StoredType, head: bytes, data: bytes, types: MessageTypes) -> None:
        self.position = position
        self.data = data
        self._stored = stored
        self._head: bytes | list[Any] = head
        self._types = types
        self._message: Message | None = None

    def _facts(self) -> list[Any]:
        head = self._head
        if isinstance(head, bytes):
            head = self._head = from_json(head)
        return head

    @property
    def type(self) -> str:
        """Class name of the message."""
        return self._stored.type

    @property
    def component(self) -> str:
        """Component that declares it."""
        return self._stored.component

    @property
    def version(self) -> int:
        """Version of the shape it was written in."""
        return self._stored.version

    @property
    def stream(self) -> str:
        """Stream it stands in."""
        return str(self._facts()[0])

    @property
    def stream_position(self) -> int:
        """Place in the stream."""
        return int(self._facts()[1])

    @property
    def message_id(self) -> str:
        """Identity of the message."""
        return str(self._facts()[2])

    @property
    def correlation_id(self) -> str:
        """Shared by everything that one first message started."""
        return str(self._facts()[3])

    @property
    def causation_id(self) -> str | None:
        """Message id of the direct parent."""
        causation: str | None = self._facts()[4]
        return causation

    @property
    def time(self) -> float:
        """When the message was made, seconds since the epoch, to the microsecond."""
        return float(self._facts()[5]) / MICROSECONDS

    @property
    def depth(self) -> int:
        """Messages between it and the first one."""
        return int(self._facts()[6])

    @property
    def headers(self) -> Mapping[str, str] | None:
        """Free text pairs."""
        headers: Mapping[str, str] | None = self._facts()[7]
        return headers

    @property
    def message(self) -> Message:
        """The typed message.

        Raises:
            UnknownTypeError: No component declares the type any more; names the position.
            PayloadError: The stored shape does not fit the class as it is now.
        """
        if self._message is None:
            stored = self._stored
            try:
                self._message = self._types.decode(stored.component, stored.type, stored.version, self.data)
            except UnknownTypeError:  # the same again, with the place; not written out for every event that is fine
                self._message = self._types.decode(
                    stored.component, stored.type, stored.version, self.data, where=f"position {self.position}"
                )
        return self._message

    @property
    def envelope(self) -> Envelope[Message]:
        """The message in its envelope."""
        _, _, message_id, correlation_id, causation_id, time, depth, headers = self._facts()
        return Envelope(self.message, message_id, correlation_id, causation_id, time / MICROSECONDS, depth, headers)

    def __repr__(self) -> str:
        return f"StoredEvent({self.component}.{self.type} at {self.position})"
