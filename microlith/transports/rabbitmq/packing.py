"""Parcels as AMQP messages: CloudEvents in binary mode, each attribute a header, the payload as it is.

Headers begin with `ce-`; `cloudEvents:` and `cloudEvents_`, which come from AMQP 1.0, are read as well. What RabbitMQ's own
tools show is set beside them: message id, correlation id, type, time.

Source: https://github.com/knative-extensions/eventing-rabbitmq/blob/main/cloudevents-protocol-spec/spec.md
"""

from datetime import datetime
from typing import Any, NamedTuple

from aiormq import spec

from microlith.transports.protocol import Address, Inbox, Parcel
from microlith.transports.rabbitmq import topology

REASON = "microlith-reason"
"""Header of what was put aside: why."""
FROM = "microlith-queue"
"""Header of what was put aside: from which queue."""

_PREFIX = "ce-"
_READ_PREFIXES = ("ce-", "ce_", "cloudEvents:", "cloudEvents_")
_SHORT = 255
"""Bytes of a property, or of a key; longer texts go into headers alone."""
_LONGEST_NAME = 128
"""Bytes of a header's name."""
_LONGEST_HEADERS = 128_000
"""Bytes of all headers together: they go into one frame of 128 KiB. A larger one would end the connection."""
_LONGEST_REASON = 4000

_PERSISTENT, _TRANSIENT = 2, 1


class Packet(NamedTuple):
    """A parcel as it is given to the broker.

    Attributes:
        exchange: Where to.
        routing_key: By which key.
        kept: Whether the broker is to say when it has no queue for it.
        properties: Everything but the data.
        data: The payload.
    """

    exchange: str
    routing_key: str
    kept: bool
    properties: spec.Basic.Properties
    data: bytes


def pack(app: str, address: Address, parcel: Parcel) -> Packet:
    """Write a parcel for an address.

    Raises:
        ValueError: It can be written for no broker.
    """
    names = topology.Names(app)
    if isinstance(address, Inbox):
        return _packet("", names.inbox(address), parcel, lasting=False)
    if address.kind == "command":
        return _packet(names.commands, address.component, parcel, lasting=True, kept=True)
    if address.kind == "query":
        return _packet(names.queries, address.component, parcel, lasting=False)
    return _packet(names.events, f"{address.component}.{parcel.attributes.get('type', '')}", parcel, lasting=True)


def pack_aside(app: str, queue: str, parcel: Parcel, reason: str) -> Packet:
    """Write a parcel that nobody could read for those who look after what was put aside."""
    packet = _packet(topology.Names(app).refused, "", parcel, lasting=True)
    properties = packet.properties
    properties.headers = {**(properties.headers or {}), REASON: reason[:_LONGEST_REASON], FROM: queue}
    return packet


def unpack(properties: spec.Basic.Properties, data: bytes) -> Parcel:
    """Read a message, whoever has made it."""
    attributes = {}
    for name, value in (properties.headers or {}).items():
        if name.startswith(_PREFIX):
            attributes[name[len(_PREFIX) :]] = value if isinstance(value, str) else _text(value)
        elif name.startswith(_READ_PREFIXES):
            prefix = next(prefix for prefix in _READ_PREFIXES if name.startswith(prefix))
            attributes[name[len(prefix) :]] = _text(value)
    if properties.content_type:
        attributes["datacontenttype"] = properties.content_type
    return Parcel(attributes, data, attributes.get("partitionkey", ""))


def _packet(exchange: str, routing_key: str, parcel: Parcel, *, lasting: bool, kept: bool = False) -> Packet:
    attributes = parcel.attributes
    headers = {_PREFIX + name: text for name, text in attributes.items()}
    content_type = attributes.get("datacontenttype")
    if content_type is not None and _is_short(content_type):
        del headers[_PREFIX + "datacontenttype"]
    else:
        content_type = None
    properties = spec.Basic.Properties(
        content_type=content_type,
        headers=headers,  # type: ignore[arg-type]  # a dict of str is one of values; dict is invariant
        delivery_mode=_PERSISTENT if lasting else _TRANSIENT,
        correlation_id=_short(attributes.get("correlationid")),
        message_id=_short(attributes.get("id")),
        timestamp=_moment(attributes.get("time")),
        message_type=_short(attributes.get("type")),
    )
    if sum(map(_size, headers)) + sum(map(_size, headers.values())) + 16 * len(headers) > _LONGEST_HEADERS:
        raise ValueError(f"its attributes have more than {_LONGEST_HEADERS} bytes")
    if _size(routing_key) > _SHORT:
        raise ValueError(f"its component and type have more than {_SHORT} bytes")
    if headers and max(map(_size, headers)) > _LONGEST_NAME:
        raise ValueError(f"the name of an attribute has more than {_LONGEST_NAME - len(_PREFIX)} bytes")
    return Packet(exchange, routing_key, kept, properties, parcel.data)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _is_short(text: str) -> bool:
    return 0 < len(text) <= _SHORT and _size(text) <= _SHORT


def _short(text: str | None) -> str | None:
    return text if text is not None and _is_short(text) else None


def _moment(text: str | None) -> datetime | None:
    """Return a time as a property has it; None when it has none, or one that fits in no property."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.timestamp() >= 0 else None
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """Write what others put into a header as the text that an attribute is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
