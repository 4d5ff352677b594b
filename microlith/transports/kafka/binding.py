"""Parcels as Kafka records, by the Kafka binding of CloudEvents in binary mode, so that any other client can take part.

Attributes travel as headers "ce_…", but for "datacontenttype", which is "content-type". The key of a record is the
parcel's key; in an inbox it is the inbox's name, and the parcel's own key travels as a header.

Judges nothing: a record that is no CloudEvent becomes a parcel without attributes, and whoever reads it refuses it.

Source: CloudEvents, Kafka protocol binding 1.0.2, section 3.2.
"""

from typing import Any, NamedTuple

from confluent_kafka import Message

from microlith.payloads import MAX_BYTES
from microlith.transports.protocol import Parcel

LARGEST_RECORD = MAX_BYTES + 256 * 1024
"""Bytes of a record with its attributes, at most."""

Headers = list[tuple[str, str | bytes | None]]
"""As the library takes and gives them; those of a record that is made are bytes."""

_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
_KEY = "microlith_key"
_REASON = "microlith_reason"
_ORIGIN = "microlith_origin"
_NO_ATTRIBUTE = ""


class _HeaderNames(dict[str, str]):
    """The header of each attribute, remembered: there are few, and each is needed for every parcel."""

    def __missing__(self, attribute: str) -> str:
        header = _CONTENT_TYPE if attribute == "datacontenttype" else _PREFIX + attribute
        if len(self) < _REMEMBERED:
            self[attribute] = header
        return header


class _AttributeNames(dict[str, str]):
    """The same the other way round."""

    def __missing__(self, header: str) -> str:
        if header == _CONTENT_TYPE:
            attribute = "datacontenttype"
        else:
            attribute = header.removeprefix(_PREFIX) if header.startswith(_PREFIX) else _NO_ATTRIBUTE
        if len(self) < _REMEMBERED:
            self[header] = attribute
        return attribute


_REMEMBERED = 200
"""Names; strangers may send any number of them."""
_header_of = _HeaderNames()
_attribute_of = _AttributeNames()


class Record(NamedTuple):
    """What is handed to the producer.

    Attributes:
        topic: Where it goes.
        key: What decides its partition; None for any.
        value: The data.
        headers: The attributes, and what else travels.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def to_record(topic: str, parcel: Parcel, inbox: str | None = None) -> Record:
    """Make a record of a parcel, for a topic or for an inbox."""
    headers: Headers = [(_header_of[name], value.encode()) for name, value in parcel.attributes.items()]
    if inbox is None:
        return Record(topic, parcel.key.encode() or None, parcel.data, headers)
    if parcel.key:
        headers.append((_KEY, parcel.key.encode()))
    return Record(topic, inbox.encode(), parcel.data, headers)


def to_refused(topic: str, message: Message, reason: str) -> Record:
    """Make a record of one that nobody can read: as it came, with the reason and where it lay."""
    headers = [
        *_headers(message),
        (_REASON, reason.encode(errors="backslashreplace")),
        (_ORIGIN, f"{message.topic()}/{message.partition()}/{message.offset()}".encode()),
    ]
    return Record(topic, message.key(), message.value() or b"", headers)


def to_parcel(message: Message, *, of_inbox: bool = False) -> Parcel:
    """Read a parcel out of a record that has come."""
    headers = _headers(message)
    as_bytes: Any = headers  # what is not is looked at below
    try:
        attributes = {_attribute_of[name]: value.decode() for name, value in as_bytes}
    except (AttributeError, UnicodeDecodeError):
        attributes = {_attribute_of[name]: _text(value) for name, value in headers}
    attributes.pop(_NO_ATTRIBUTE, None)
    key = dict(headers).get(_KEY) if of_inbox else message.key()
    return Parcel(attributes, message.value() or b"", _text(key))


def reason_of(message: Message) -> str:
    """Return why a refused record was refused."""
    return next((_text(value) for name, value in _headers(message) if name == _REASON), "")


def _headers(message: Message) -> Headers:
    headers = message.headers() or []
    return headers if isinstance(headers, list) else list(headers.items())


def _text(value: str | bytes | None) -> str:
    """What a stranger sent as text, whatever it is."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""
