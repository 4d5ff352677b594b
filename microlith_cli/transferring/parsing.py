r"""Lines of a file as copies of events; a line that is not exactly one event is refused, with its number.

The payload is cut out of its line and stays as it is, byte by byte; only escapes such as `\u00e9` become the
characters they stand for, as the store writes them.

Trusts nothing: sizes, depth, keys that come twice, text that is not Unicode and types that nobody declares are refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from microlith.errors import MicrolithError
from microlith.event_store.event_copy import EventCopy
from microlith.payloads import MAX_BYTES, MAX_DEPTH, depth_of
from microlith.privacy.keys import KeysClosedError, MissingKeyError
from microlith.serialization import MessageTypes
from microlith_cli.errors import UnsafeJsonError, UsageError
from microlith_cli.event_log.lines import EPOCH
from microlith_cli.strict_json import check, parse, read

MAX_LINE = 16 << 20
"""Bytes: a payload of 1 MiB has six times as many when each of its characters is escaped."""
_DATA = b',"data":'
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_BIGGEST = 1 << 62


class ImportFileError(UsageError):
    """A file that cannot be imported; nothing was written.

    Attributes:
        line: The line that is wrong, from 1; 0: the file as a whole.
    """

    def __init__(self, line: int, problem: str, *, hint: str = "Nothing was imported.") -> None:
        super().__init__(f"line {line}: {problem}." if line else f"{problem}.", hint=hint)
        self.line = line

    def as_dict(self) -> dict[str, Any]:
        """Show it with its line."""
        return {**super().as_dict(), "line": self.line}


class Lines(Protocol):
    """A file, as far as reading lines goes."""

    def readline(self, limit: int, /) -> bytes:
        """Read a line, or as much of it; empty at the end."""
        ...


class Reading:
    """A file of events, read line by line.

    Args:
        stream: The file.
        types: The application's message types.
        unreadable: Whether events are taken, too, that no component can read.

    Attributes:
        line: Number of the line that was read last.
        bytes: How much has been read.
    """

    def __init__(self, stream: Lines, types: MessageTypes, *, unreadable: bool = False) -> None:
        self.line = 0
        self.bytes = 0
        self._stream = stream
        self._types = types
        self._unreadable = unreadable
        self._position = -1

    def copies(self) -> Iterator[tuple[int, EventCopy]]:
        """Yield each event with the position it had.

        Raises:
            ImportFileError: A line is not one event, or does not come after the one before.
        """
        while raw := self._stream.readline(MAX_LINE + 1):
            self.line += 1
            self.bytes += len(raw)
            if len(raw) > MAX_LINE:
                raise self._refused(f"has more than {MAX_LINE} bytes")
            text = raw.strip(b" \t\r\n")
            if text:
                yield self._event(text, whole=raw.endswith(b"\n"))

    def _event(self, text: bytes, *, whole: bool) -> tuple[int, EventCopy]:
        try:
            told, data = _cut(text)
        except UnsafeJsonError as error:
            problem = str(error).removeprefix("This JSON is refused: ").rstrip(".")
            raise self._refused(problem if whole else f"is cut off ({problem})") from None
        self._check_kind(told)
        position = self._number(told, "position")
        copy = self._copy(told, data)
        self._check_readable(copy)
        if position <= self._position:
            raise self._refused(f"has position {position}, which does not come after {self._position}")
        self._position = position
        return position, copy

    def _copy(self, told: Mapping[str, Any], data: bytes) -> EventCopy:
        component = self._text(told, "component")
        return EventCopy(
            component,
            self._text(told, "type").removeprefix(f"{component}."),
            self._number(told, "version", least=1),
            self._text(told, "stream"),
            self._number(told, "streamposition"),
            self._text(told, "id"),
            self._text(told, "correlationid"),
            None if told.get("causationid") is None else self._text(told, "causationid"),
            self._moment(self._text(told, "time")),
            self._number(told, "depth"),
            self._headers(told.get("headers")),
            data,
            f"line {self.line}",
        )

    def _check_kind(self, told: Mapping[str, Any]) -> None:
        """Refuse what is no event of ours, and what lacks its secrets."""
        if told.get("masked") is True:
            raise ImportFileError(
                self.line,
                "its secrets are masked, so it is not the event that was recorded",
                hint="Export again with `microlith events export --reveal`, and keep that file to yourself.",
            )
        if told.get("specversion") != "1.0" or told.get("bus", "event") != "event":
            raise self._refused('is no event as `microlith events export` writes them ("specversion":"1.0")')

    def _check_readable(self, copy: EventCopy) -> None:
        if len(copy.data) > MAX_BYTES:
            raise self._refused(f"has a payload of {len(copy.data)} bytes; at most {MAX_BYTES} are taken")
        if self._unreadable:
            return
        hint = "Nothing was imported. `--unreadable` takes events, too, that this code cannot read."
        try:
            entry = self._types.current(copy.component, copy.type)
            if entry is not None and entry.kind != "event":
                raise ImportFileError(self.line, f"{entry.full_name} is a {entry.kind}, and no event", hint=hint)
            self._types.decode(copy.component, copy.type, copy.version, copy.data, message_id=copy.message_id)
        except KeysClosedError:
            return  # sealed; the first line is read before the store and its keys are open
        except MissingKeyError as error:
            hint = "Nothing was imported. Copy `.microlith/keys.db` from where the log was exported, then import again."
            raise ImportFileError(self.line, str(error).rstrip("."), hint=hint) from None
        except MicrolithError as error:
            raise ImportFileError(self.line, str(error).rstrip("."), hint=hint) from None

    def _text(self, told: Mapping[str, Any], name: str) -> str:
        value = told.get(name)
        if not isinstance(value, str) or not value:
            raise self._refused(f"{name!r} is {'missing' if value is None else 'not a text'}")
        if "\0" in value:
            raise self._refused(f"{name!r} holds a NUL")
        return value

    def _number(self, told: Mapping[str, Any], name: str, *, least: int = 0) -> int:
        value = told.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _BIGGEST:
            raise self._refused(f"{name!r} is {'missing' if value is None else f'not a whole number from {least} on'}")
        return value

    def _moment(self, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text)
            microseconds = (moment - EPOCH) // timedelta(microseconds=1)
        except (ValueError, TypeError, OverflowError):
            microseconds = -1
        if microseconds < 0 or len(text) < len("2026-11-23T10:32:00Z"):
            raise self._refused("'time' is no moment from 1970 on, such as 2026-11-23T10:32:00.000001Z")
        return microseconds

    def _headers(self, text: object) -> Mapping[str, str] | None:
        if text is None:
            return None
        try:
            headers = parse(text.encode()) if isinstance(text, str) else None
        except (UnsafeJsonError, UnicodeEncodeError):
            headers = None
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise self._refused("'headers' is not a text that holds a JSON object of texts")
        return headers

    def _refused(self, problem: str) -> ImportFileError:
        return ImportFileError(self.line, problem)


def _cut(line: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a line apart: what it says of the event, and the bytes of its payload.

    Raises:
        UnsafeJsonError: It is not one JSON object, or means different things to different readers.
    """
    # As it is exported, `data` comes last and nothing before it is nested: the first such bytes are its key.
    head, found, data = line.partition(_DATA)
    if found and data.endswith(b"}"):
        try:
            told, payload = read(head + b"}"), data[:-1]
            if b"\\u" in head:
                check(told)
            _check_payload(payload)
        except UnsafeJsonError:
            pass
        else:
            if isinstance(told, dict) and "data" not in told:
                return told, _plain(payload)
    return _cut_slowly(line)


def _cut_slowly(line: bytes) -> tuple[dict[str, Any], bytes]:
    """Take apart a line that something else has written anew: in another order, with spaces."""
    told = read(line)
    if not isinstance(told, dict):
        raise UnsafeJsonError("it is no JSON object")
    if told.get("masked") is True:
        return told, b"{}"
    if not isinstance(told.get("data"), dict):
        raise UnsafeJsonError("'data' is no JSON object")
    check({name: value for name, value in told.items() if name != "data"})
    text, decoder = line.decode(), json.JSONDecoder()
    at = text.index("{") + 1
    while True:
        at = _after_space(text, at)
        key, at = decoder.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)
        begin = at
        _, at = decoder.raw_decode(text, at)
        if key == "data":
            _check_payload(data := text[begin:at].encode())
            return told, _plain(data)
        at = _after_space(text, at) + 1


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _check_payload(data: bytes) -> None:
    if depth_of(data) > MAX_DEPTH:
        raise UnsafeJsonError(f"'data' is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(read(data), dict):
        raise UnsafeJsonError("'data' is no JSON object")


def _plain(data: bytes) -> bytes:
    """Write escaped characters as they are, and leave out line breaks between values: they mean nothing there."""
    data = data.replace(b"\r", b"")
    if b"\\u" not in data:
        return data
    text = _ESCAPE.sub(_character, data.decode())
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16").encode()
    except UnicodeDecodeError:
        raise UnsafeJsonError("a text holds half a surrogate pair") from None


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16) if match[1] else 0
    return chr(code) if code >= 0x7F else match[0]
