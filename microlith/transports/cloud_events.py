"""Messages as parcels: CloudEvents 1.0 in binary mode, the payload as it is and everything else in attributes.

Beside the attributes of the specification: correlationid, causationid, partitionkey, traceparent and tracestate (its own
extensions); bus, component, dataversion, depth, process, replyto and headers (ours). A parcel that somebody else has
made needs only id, source and type: such a message begins a correlation.

Secrets travel in clear, and personal fields opened: who receives them has keys of their own. Use TLS.

Source: CloudEvents 1.0.2, https://github.com/cloudevents/spec
"""

import json
from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any, NamedTuple
from zlib import crc32

from microlith.clock import iso
from microlith.envelope import ORIGIN, REPLY_TO, Envelope
from microlith.errors import MicrolithError, UnsafePayloadError
from microlith.messages import Kind
from microlith.payloads import PayloadRefused, load_payload
from microlith.serialization import MessageType, MessageTypes
from microlith.transports.protocol import Parcel

JSON = "application/json"
FAILED = "microlith.HandlerFailed"
"""Type of the parcel that tells whoever waits that a handler has failed."""

_OWN_ATTRIBUTES = ("traceparent", "tracestate")
"""Headers that are attributes of their own; all others travel in one."""
_REPLIES = 8
"""How many processes hear what a message causes: the newest of those that it came through."""
_LONGEST = 1024
"""Characters of an id or a name that is taken."""


class UnreadableParcelError(MicrolithError):
    """A parcel that is no message this application knows; the text quotes nothing of its payload."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"A message that came over a transport {problem}.", hint="It was put aside at the broker.")


class Failure(NamedTuple):
    """That a handler elsewhere has failed.

    Attributes:
        correlation_id: Of the message that it was to handle.
        message_id: Of the same message.
        handler: Its full name.
        message: Type of that message.
        reason: What it raised; without secrets.
        question: Whether the message was a query, so that its answer is this failure.
    """

    correlation_id: str
    message_id: str
    handler: str
    message: str
    reason: str
    question: bool


class Post:
    """Makes parcels of messages and messages of parcels, for one process.

    Args:
        types: The application's message types.
        app: Its name.
        process: Name of the process, such as "auth": whose messages these are.
        inbox: Name of its inbox; None when it has none.
    """

    def __init__(self, types: MessageTypes, app: str, process: str, inbox: str | None) -> None:
        self._types = types
        self._app = app
        self.process = process
        self.inbox = inbox

    def parcel(self, envelope: Envelope[Any], key: str = "") -> Parcel:
        """Pack a message; messages with the same key keep their order.

        Raises:
            UnsafePayloadError: It cannot be written, or is too large.
        """
        entry = self._types.of(type(envelope.message))
        attributes = {
            "specversion": "1.0",
            "id": envelope.message_id,
            "source": f"/{self._app}/{entry.component}",
            "type": self._types.shown(entry),
            "time": iso(envelope.time),
            "datacontenttype": JSON,
            "correlationid": envelope.correlation_id,
            "bus": "query" if entry.kind == "response" else entry.kind,
            "component": entry.component,
            "dataversion": str(entry.version),
            "depth": str(envelope.depth),
            "process": self.process,
        }
        if envelope.causation_id is not None:
            attributes["causationid"] = envelope.causation_id
        if key:
            attributes["partitionkey"] = key
        if replies := self._replies(envelope):
            attributes["replyto"] = replies
        self._add_headers(attributes, envelope.headers)
        return Parcel(attributes, self._types.encode(envelope.message, sealed=False), key)

    def message(self, parcel: Parcel, kinds: tuple[Kind, ...]) -> Envelope[Any]:
        """Unpack a message of one of some kinds.

        Raises:
            UnreadableParcelError: It is none.
        """
        attributes = parcel.attributes
        message_id = _text(attributes, "id")
        entry = self._entry(_text(attributes, "type"), attributes.get("component", ""), kinds)
        try:
            load_payload(parcel.data)
            version = int(attributes.get("dataversion", entry.version))
            message = self._types.decode(entry.component, entry.name, version, parcel.data)
        except PayloadRefused as refused:
            raise UnreadableParcelError(f"is no {entry.name}: its payload {refused}") from None
        except (MicrolithError, ValueError) as error:
            raise UnreadableParcelError(f"is no {entry.name}: {error}") from None
        return Envelope(
            message,
            message_id,
            _text(attributes, "correlationid", message_id),
            _text(attributes, "causationid", "") or None,
            _moment(attributes.get("time")),
            _depth(attributes.get("depth", "0")),
            self._headers(attributes),
        )

    def failure_parcel(self, envelope: Envelope[Any], handler: str, reason: str, *, question: bool) -> Parcel:
        """Pack the word that a handler has failed."""
        told = {
            "handler": handler,
            "message": self._types.shown(self._types.of(type(envelope.message))),
            "messageid": envelope.message_id,
            "reason": reason,
            "question": question,
        }
        attributes = {
            "specversion": "1.0",
            "id": f"{envelope.message_id}/{handler}/failed",
            "source": f"/{self._app}",
            "type": FAILED,
            "time": iso(time()),
            "datacontenttype": JSON,
            "correlationid": envelope.correlation_id,
            "causationid": envelope.message_id,
            "process": self.process,
        }
        return Parcel(attributes, json.dumps(told).encode())

    @staticmethod
    def failure(parcel: Parcel) -> Failure:
        """Unpack the word that a handler has failed.

        Raises:
            UnreadableParcelError: It is none.
        """
        try:
            told = load_payload(parcel.data)
            message_id, handler, message, reason = (
                str(told[name]) for name in ("messageid", "handler", "message", "reason")
            )
            correlation_id = _text(parcel.attributes, "correlationid")
            return Failure(correlation_id, message_id, handler, message, reason, told["question"] is True)
        except (PayloadRefused, KeyError, TypeError) as error:
            raise UnreadableParcelError(f"tells of a failure, and cannot be read ({type(error).__name__})") from None

    def _entry(self, name: str, component: str, kinds: tuple[Kind, ...]) -> MessageType:
        plain = name.rpartition(".")[2]
        entry = self._types.current(component, plain) if component else None
        if entry is None:
            try:
                entry = self._types.find(name)
            except MicrolithError as error:
                raise UnreadableParcelError(f"has a type that is not known here: {error}") from None
        if entry.kind not in kinds:
            raise UnreadableParcelError(f"is of type {entry.name}, which is no {' or '.join(kinds)}")
        return entry

    def _replies(self, envelope: Envelope[Any]) -> str:
        asked = envelope.headers.get(REPLY_TO, "") if envelope.headers else ""
        inboxes = [name for name in asked.split(",") if name and name != self.inbox]
        return ",".join([*inboxes, self.inbox][-_REPLIES:]) if self.inbox else ",".join(inboxes)

    @staticmethod
    def _add_headers(attributes: dict[str, str], headers: Mapping[str, str] | None) -> None:
        if not headers:
            return
        others = {}
        for name, value in headers.items():
            if name in _OWN_ATTRIBUTES:
                attributes[name] = value
            elif name not in (REPLY_TO, ORIGIN):
                others[name] = value
        if others:
            attributes["headers"] = json.dumps(others)

    @staticmethod
    def _headers(attributes: Mapping[str, str]) -> dict[str, str]:
        """Return what a message brings with it; at least where it comes from."""
        headers = {name: attributes[name] for name in _OWN_ATTRIBUTES if name in attributes}
        if "headers" in attributes:
            try:
                others = load_payload(attributes["headers"])
                headers |= {name: value for name, value in others.items() if isinstance(value, str)}
            except (PayloadRefused, AttributeError):
                raise UnreadableParcelError("has headers that cannot be read") from None
        if replies := attributes.get("replyto"):
            headers[REPLY_TO] = ",".join(replies.split(",")[-_REPLIES:])
        headers[ORIGIN] = attributes.get("process") or _text(attributes, "source")
        return headers


def digest_of(parcel: Parcel) -> int:
    """Return what tells the body of a parcel from others: above 0, and below 2 to the 33rd."""
    return crc32(parcel.data, crc32(parcel.attributes.get("type", "").encode())) + 1


def too_large(entry_name: str, size: int, largest: int) -> UnsafePayloadError:
    """Make the error for a message that a transport cannot carry."""
    return UnsafePayloadError(entry_name, f"is {size} bytes long; the transport takes at most {largest}")


def _text(attributes: Mapping[str, str], name: str, default: str | None = None) -> str:
    text = attributes.get(name, default)
    if text is None or (not text and default is None):
        raise UnreadableParcelError(f"has no {name}")
    if len(text) > _LONGEST:
        raise UnreadableParcelError(f"has a {name} of {len(text)} characters; {_LONGEST} are taken")
    return text


def _moment(text: str | None) -> float:
    if text is None:
        return time()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise UnreadableParcelError("has a time that is none") from None


def _depth(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise UnreadableParcelError("has a depth that is no number")
    return int(text)
