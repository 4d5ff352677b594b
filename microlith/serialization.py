"""Message types by name, and messages as JSON.

A type is known by its class name and its component, never by an import path taken from data. The
stored form keeps secrets; the shown form masks them.

Decides nothing about where bytes go.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from microlith.clock import iso
from microlith.envelope import Envelope
from microlith.errors import (
    AmbiguousTypeError,
    DuplicateNameError,
    PayloadError,
    UnknownTypeError,
    UnsafePayloadError,
    nearest,
)
from microlith.messages import Kind, Message
from microlith.payloads import MAX_BYTES, MAX_DEPTH, depth_of
from microlith.privacy.keys import KeyRing
from microlith.privacy.marking import MARK, personal_fields
from microlith.secrecy import may_hold_secrets, reveal, shown_fields

_TRACE_CONTEXT = ("traceparent", "tracestate")
"""Headers that CloudEvents has extensions for.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
"""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns decoded data of one version into that of the next. Pure: it may be run at any time, any number of times."""


class Stored(Protocol):
    """An event as it is stored, as far as its payload goes."""

    @property
    def component(self) -> str:
        """Component that declares it."""
        ...

    @property
    def type(self) -> str:
        """Class name of the message."""
        ...

    @property
    def message_id(self) -> str:
        """Identity of the message."""
        ...

    @property
    def data(self) -> bytes:
        """The payload as JSON."""
        ...


class MessageType:
    """What is known of one message class.

    Attributes:
        name: Class name.
        component: Name of the component that declares it.
        kind: Command, query, response or event.
        version: Version of its shape, from 1.
        cls: The class.
        secret: Whether a field of it, at any depth, is a SecretStr or SecretBytes.
        personal: Its personal fields, by name; empty for most.
        upcasters: For each earlier version, what turns its data into the next version's.
        step_of: Name of the process whose steps these are; "" for all other messages.
    """

    __slots__ = ("cls", "component", "kind", "name", "personal", "secret", "step_of", "upcasters", "version")

    def __init__(self, cls: type[Message], component: str) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.component = component
        self.kind: Kind = cls.__kind__
        self.version = cls.__version__
        self.upcasters: dict[int, Upcaster] = {}
        self.step_of = ""
        self.secret = may_hold_secrets(cls)
        self.personal = personal_fields(cls)

    @property
    def full_name(self) -> str:
        """Component and class name, such as "auth.LoginCommand"."""
        return f"{self.component}.{self.name}"


class MessageTypes:
    """Every message type of one application. Filled while it is wired, then only read.

    Attributes:
        keys: Keys of personal fields, while a store that has any is open.
    """

    def __init__(self) -> None:
        self.keys: KeyRing | None = None
        self._by_class: dict[type[Message], MessageType] = {}
        self._by_name: dict[str, list[MessageType]] = {}
        self._by_full_name: dict[tuple[str, str], MessageType] = {}

    def __iter__(self) -> Iterator[MessageType]:
        return iter(self._by_class.values())

    def __len__(self) -> int:
        return len(self._by_class)

    def add(self, cls: type[Message], component: str) -> MessageType:
        """Declare a message class for a component. Declaring it again changes nothing.

        Raises:
            DuplicateNameError: The component has another class of this name.
        """
        known = self._by_class.get(cls)
        if known is not None:
            return known
        entry = MessageType(cls, component)
        other = self._by_full_name.get((component, entry.name))
        if other is not None:
            raise DuplicateNameError("messages", entry.full_name, other.cls.__module__, cls.__module__)
        self._by_class[cls] = entry
        self._by_name.setdefault(entry.name, []).append(entry)
        self._by_full_name[component, entry.name] = entry
        for old_name in cls.__formerly__:
            self._by_full_name.setdefault((component, old_name), entry)
        return entry

    def of(self, cls: type[Any]) -> MessageType:
        """Return what is known of a class.

        Raises:
            UnknownTypeError: No component declares it.
        """
        entry = self._by_class.get(cls)
        if entry is None:
            raise UnknownTypeError(cls.__name__, self._by_name, where=f"{cls.__module__}")
        return entry

    def find(self, name: str) -> MessageType:
        """Find a type by its class name, or by `component.Type`.

        Raises:
            UnknownTypeError: There is none; the error names the nearest.
            AmbiguousTypeError: Two components have it; the error names both.
        """
        component, _, plain = name.rpartition(".")
        entries = [e for e in self._by_name.get(plain, ()) if not component or e.component == component]
        if not entries:
            raise UnknownTypeError(name, self._by_name)
        if len(entries) > 1:
            raise AmbiguousTypeError(name, [e.full_name for e in entries])
        return entries[0]

    def shown(self, entry: MessageType) -> str:
        """Return the shortest name that means this type."""
        return entry.name if len(self._by_name[entry.name]) == 1 else entry.full_name

    def validate(self, name: str, data: Any) -> Message:
        """Build a message of a named type from decoded JSON.

        Raises:
            UnknownTypeError: There is no such type.
            PayloadError: The data does not fit; no value is quoted.
        """
        entry = self.find(name)
        if not isinstance(data, Mapping):
            raise PayloadError(entry.name, [{"field": "", "problem": "must be a JSON object", "nearest": None}])
        try:
            return entry.cls.model_validate_json(to_json(data))
        except (ValidationError, PydanticSerializationError, ValueError) as error:
            raise payload_error(entry.cls, error) from None

    @property
    def personal(self) -> bool:
        """Whether a message that is stored has personal fields."""
        return any(entry.personal and entry.kind in ("command", "event") for entry in self)

    def encode(self, message: Message, message_id: str = "", *, sealed: bool = True) -> bytes:
        """Write a message as JSON for the store or a transport: secrets in clear, personal fields sealed.

        Args:
            message: The message.
            message_id: Its id, which sealed fields are bound to; only needed where there are some.
            sealed: Whether personal fields are sealed; not so for whoever has keys of their own.

        Raises:
            UnsafePayloadError: It is longer than 1 MiB, deeper than 64 levels, or holds text that is not Unicode.
        """
        entry = self.of(type(message))
        try:
            raw = to_json(reveal(message)) if entry.secret else message.__pydantic_serializer__.to_json(message)
        except (PydanticSerializationError, ValueError) as error:
            raise UnsafePayloadError(entry.name, f"cannot be written as JSON ({type(error).__name__})") from None
        if entry.personal and sealed:
            raw = self._seal(entry, raw, message_id)
        if len(raw) > MAX_BYTES:
            raise UnsafePayloadError(entry.name, f"is {len(raw)} bytes long; at most {MAX_BYTES} are taken")
        if depth_of(raw) > MAX_DEPTH:
            raise UnsafePayloadError(entry.name, f"is nested more than {MAX_DEPTH} levels deep")
        return raw

    def current(self, component: str, name: str) -> MessageType | None:
        """Return the type that a stored name means by now, renamed or moved; None when it is gone."""
        entry = self._by_full_name.get((component, name))
        if entry is None:
            moved = self._by_name.get(name, ())
            return moved[0] if len(moved) == 1 else None
        return entry

    def decode(
        self, component: str, name: str, version: int, data: bytes, *, where: str = "", message_id: str = ""
    ) -> Message:
        """Read a stored message; `message_id` is only needed where personal fields are sealed.

        Raises:
            UnknownTypeError: No component declares the type any more.
            PayloadError: The stored shape does not fit the class as it is now.
        """
        entry = self.current(component, name)
        if entry is None:
            raise UnknownTypeError(f"{component}.{name}", self._by_name, where=where)
        if MARK in data and (entry.personal or version < entry.version):
            data = self._open(entry, data, message_id, where)
        if version < entry.version:
            return _upcast(entry, version, data)
        if version > entry.version:
            problem = f"was stored as version {version}; this code knows version {entry.version}"
            hint = f"Run the code that wrote it, or one as new: its {entry.name} has version {version}."
            raise PayloadError(entry.name, [{"field": "", "problem": problem, "nearest": None}], hint=hint)
        try:
            message: Message = entry.cls.__pydantic_validator__.validate_json(data)
        except ValidationError as error:
            opened = data if entry.personal or MARK not in data else self._open(entry, data, message_id, where)
            if opened != data:  # stored when it had personal fields, which it has no longer
                return self.decode(component, name, version, opened, where=where)
            raise _unreadable(entry, version, error) from None
        return message

    def opened(self, event: Stored) -> bytes:
        """Return the payload of a stored event in the shape it was stored in, with its sealed fields opened.

        Raises:
            PayloadError: A field cannot be opened.
            KeysClosedError: There are no keys.
        """
        entry = self.current(event.component, event.type)
        if MARK not in event.data:
            return event.data
        from microlith.privacy.payload import open_payload  # noqa: PLC0415 (its library is an extra)

        fields = {} if entry is None else entry.personal
        return open_payload(event.data, fields, self.keys, event.message_id, event.type)

    def _seal(self, entry: MessageType, raw: bytes, message_id: str) -> bytes:
        from microlith.privacy.payload import seal_payload  # noqa: PLC0415 (its library is an extra)

        return seal_payload(raw, entry.personal, self.keys, message_id, entry.name)

    def _open(self, entry: MessageType, data: bytes, message_id: str, where: str) -> bytes:
        from microlith.privacy.payload import open_payload  # noqa: PLC0415 (its library is an extra)

        return open_payload(data, entry.personal, self.keys, message_id, entry.name, where)

    def cloud_event(self, envelope: Envelope[Any], source: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """Show a message as a CloudEvents 1.0 object, ready for JSON.

        Extensions: correlationid, causationid (absent at a first message), bus, component, stepof (at a step of a process),
        traceparent and tracestate (where its headers have them).
        """
        entry = self.of(type(envelope.message))
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": envelope.message_id,
            "source": f"/{source}/{entry.component}",
            "type": self.shown(entry),
            "time": iso(envelope.time),
            "datacontenttype": "application/json",
            "correlationid": envelope.correlation_id,
        }
        if envelope.causation_id is not None:
            event["causationid"] = envelope.causation_id
        event["bus"] = "query" if entry.kind == "response" else entry.kind
        event["component"] = entry.component
        if entry.step_of:
            event["stepof"] = entry.step_of
        if envelope.headers:
            event |= {name: envelope.headers[name] for name in _TRACE_CONTEXT if name in envelope.headers}
        event["data"] = reveal(envelope.message) if show_secrets else shown_fields(envelope.message)
        return event


def _upcast(entry: MessageType, version: int, data: bytes) -> Message:
    try:
        shape = json.loads(data)
        for step in range(version, entry.version):
            shape = entry.upcasters[step](shape)
        return entry.cls.model_validate_json(to_json(shape))
    except ValidationError as error:
        raise _unreadable(entry, version, error) from None
    except Exception as error:
        problem = f"version {version} could not be read through the upcasters: {type(error).__name__}"
        hint = f"Correct `@{entry.component}.upcasts({entry.name}, ...)` for version {version} and those after it."
        raise PayloadError(entry.name, [{"field": "", "problem": problem, "nearest": None}], hint=hint) from error


def _unreadable(entry: MessageType, version: int, error: ValidationError) -> PayloadError:
    """Say that what is stored does not fit the class as it is now, and what makes it fit."""
    if version < entry.version:
        hint = f"Correct what `@{entry.component}.upcasts({entry.name}, ...)` returns for version {version}."
    else:
        hint = (
            f"Give a new field a default; or write `version={version + 1}` in `class {entry.name}(...)` and declare "
            f"`@{entry.component}.upcasts({entry.name}, version={version})`."
        )
    return PayloadError(entry.name, payload_error(entry.cls, error).problems, stored=version, hint=hint)


def payload_error(cls: type[Message], error: Exception) -> PayloadError:
    """Say what does not fit a message class, field by field; no value is quoted."""
    if not isinstance(error, ValidationError):
        return PayloadError(cls.__name__, [{"field": "", "problem": "cannot be read as JSON", "nearest": None}])
    problems = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"])
        unknown = item["type"] == "extra_forbidden"
        known = [name for name in cls.model_fields if name != field]
        problems.append(
            {
                "field": field,
                "problem": "is not a field of this message" if unknown else item["msg"],
                "nearest": nearest(field, known) if unknown else None,
            }
        )
    return PayloadError(cls.__name__, problems)
