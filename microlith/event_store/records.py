"""Events as they stand in a log: just appended, or read back from bytes.

Both show the same facts (see `RecordedEvent`). What costs time is done when it is first asked for: an appended event
is encoded late, a stored one decoded late.

Checks no checksums; the store that reads the bytes does.
"""

from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any
from zlib import crc32

from pydantic_core import from_json, to_json

from microlith.envelope import Envelope
from microlith.errors import MicrolithError, UnknownTypeError, UnsafePayloadError, text_of
from microlith.event_store.protocol import RecordedEvent
from microlith.messages import Message
from microlith.payloads import scrub
from microlith.privacy.keys import MissingKeyError
from microlith.secrecy import hidden_values
from microlith.serialization import MessageTypes

MICROSECONDS = 1_000_000
LATEST = 253_402_300_799  # the end of the year 9999, the last a calendar can show
_NUL = "\\u0000"
_quoted: Callable[[str], str] = encode_basestring_ascii


class StoredType:
    """A message type as a log names it: a number in each row, the words once.

    Attributes:
        number: What stands for it in rows.
        component: Component that declares it now; the one it was stored with when nobody does.
        type: Its class name now; the one it was stored with when there is no such class any more.
        version: Version of the shape that was stored.
        words: Component, class name and version as stored; checksums cover them.
        seed: Checksum of the words, where a row's checksum starts.
        validate: Decodes a payload; None where that takes more than validating it: upcasting, or opening what is sealed.
    """

    __slots__ = ("component", "number", "seed", "type", "validate", "version", "words")

    def __init__(self, number: int, component: str, type: str, version: int) -> None:  # noqa: A002 (as in every record)
        self.number = number
        self.component = component
        self.type = type
        self.version = version
        self.words = f"{component}.{type}/{version}\n".encode()
        self.seed = crc32(self.words)
        self.validate: Callable[[bytes], Message] | None = None

    def resolve(self, types: MessageTypes) -> None:
        """Take over what the type is called now, and how its payload is read."""
        entry = types.current(self.component, self.type)
        if entry is not None:
            self.component, self.type = entry.component, entry.name
            if self.version == entry.version and not entry.personal:
                self.validate = entry.cls.__pydantic_validator__.validate_json


class TypedEvent:
    """What every record tells of its message's type.

    Attributes:
        position: Place in the whole log.
    """

    __slots__ = ("_stored", "position")

    _stored: StoredType
    position: int

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.component}.{self.type} at {self.position})"


class AppendedEvent(TypedEvent):
    """An event that this process appended; it still has its envelope."""

    __slots__ = ("_data", "_types", "envelope", "stream", "stream_position")

    def __init__(
        self,
        envelope: Envelope[Any],
        stored: StoredType,
        types: MessageTypes,
        position: int,
        stream: str,
        stream_position: int,
        data: bytes | None = None,
    ) -> None:
        self.position = position
        self._stored = stored
        self.envelope = envelope
        self.stream = stream
        self.stream_position = stream_position
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
    def microseconds(self) -> int:
        """The same in microseconds."""
        return round(self.envelope.time * MICROSECONDS)

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
        """The payload as JSON: secrets in clear, personal fields sealed."""
        if self._data is None:
            self._data = self._types.encode(self.envelope.message, self.envelope.message_id)
        return self._data

    def read_again(self, data: bytes) -> None:
        """Take the message anew from its bytes: its personal fields may have been erased."""
        stored = self._stored
        message = self._types.decode(
            stored.component, stored.type, stored.version, data, message_id=self.envelope.message_id
        )
        self.envelope, self._data = self.envelope.holding(message), data

    @property
    def message(self) -> Message:
        """The message as it was sent."""
        message: Message = self.envelope.message
        return message


def failure_text(error: BaseException, event: RecordedEvent) -> str:
    """Return the text of an error that folding an event raised, without what may not be shown of the event."""
    try:
        hidden = list(hidden_values(event.message))
    except MicrolithError:  # it cannot be read, and that is the error
        hidden = []
    return scrub(text_of(error), hidden)


def write_facts(envelope: Envelope[Any]) -> str:
    """Write what an envelope knows beside its message: the end of a head, which is a JSON array.

    Raises:
        UnsafePayloadError: A text in it holds a NUL or is not Unicode, or its time is none.
    """
    causation = envelope.causation_id
    if not 0 <= envelope.time <= LATEST:
        raise UnsafePayloadError(type(envelope.message).__name__, f"has the time {envelope.time!r}, which is no moment")
    text = (
        f"{_quoted(envelope.message_id)},{_quoted(envelope.correlation_id)},"
        f"{'null' if causation is None else _quoted(causation)},"
        f"{round(envelope.time * MICROSECONDS)},{envelope.depth},null]"
    )
    # Ids are plain in all but odd cases, and writing them like this takes half the time.
    return _write_odd_facts(envelope) if envelope.headers or "\\" in text else text


def _write_odd_facts(envelope: Envelope[Any]) -> str:
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


class StreamNameError(MicrolithError):
    """A stream has a name that cannot be stored; nothing was written."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"{stream!r} cannot name a stream.", hint="Use a text without NUL, such as 'order-42'.")


class Decoding:
    """How stored events are decoded, and the last one that was.

    A message that stays in memory with its page costs more than decoding it; one that is asked for twice in a row does
    not have to be decoded twice.
    """

    __slots__ = ("last", "types")

    def __init__(self, types: MessageTypes) -> None:
        self.types = types
        self.last: tuple[object, Any] = (None, None)


class StoredEvent(TypedEvent):
    """An event read back. Its head and its payload are decoded when asked for; keep what you need again."""

    __slots__ = ("_decoding", "_head", "data")

    def __init__(self, position: int, stored: StoredType, head: bytes, data: bytes, decoding: Decoding) -> None:
        self.position = position
        self._stored = stored
        self._head: bytes | list[Any] = head
        self.data = data
        self._decoding = decoding

    def _facts(self) -> list[Any]:
        head = self._head
        if isinstance(head, bytes):
            head = self._head = from_json(head)
        return head

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
    def microseconds(self) -> int:
        """The same in microseconds, as it was written."""
        return int(self._facts()[5])

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
        decoding, stored = self._decoding, self._stored
        message: Message
        event, message = decoding.last
        if event is self:
            return message
        try:
            message = stored.validate(self.data) if stored.validate else self._decode("")
        except (ValueError, UnknownTypeError, MissingKeyError):  # the same again for its error, which says where
            message = self._decode(f"position {self.position}")
        decoding.last = (self, message)
        return message

    def _decode(self, where: str) -> Message:
        stored = self._stored
        return self._decoding.types.decode(
            stored.component, stored.type, stored.version, self.data, where=where, message_id=self.message_id
        )

    @property
    def envelope(self) -> Envelope[Message]:
        """The message in its envelope."""
        _, _, message_id, correlation_id, causation_id, time, depth, headers = self._facts()
        return Envelope(self.message, message_id, correlation_id, causation_id, time / MICROSECONDS, depth, headers)
