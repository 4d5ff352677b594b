"""One event of the log as one line: a CloudEvents 1.0 object with all that is needed to record it again.

Our own facts are lowercase extensions: correlationid, causationid, bus, component, version, stream, streamposition,
position, depth, headers (JSON in a text). `data` comes last. With secrets revealed it is the stored payload, byte by
byte, or with its sealed fields opened for whoever runs it again; otherwise it is shown as the classes read it today, with secrets masked, and the line says `"masked":true`.

Escapes nothing but what JSON needs: what reaches a terminal is the console's to see to.
"""

from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii
from typing import Any

from pydantic_core import from_json, to_json

from microlith.errors import MicrolithError
from microlith.event_store.protocol import RecordedEvent
from microlith.payloads import MASK, redact
from microlith.privacy.marking import MARK, SEALED
from microlith.secrecy import shown_fields
from microlith.serialization import MessageTypes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_quoted = encode_basestring_ascii


class EventLines:
    """Writes events as lines.

    Args:
        app: Name of the application, for `source`.
        types: Its message types; empty when it could not be imported: then no masked payload can be shown.
        reveal: Whether payloads are written as they are stored.
        opened: Whether, beside that, their sealed fields are opened.
    """

    def __init__(self, app: str, types: MessageTypes, *, reveal: bool, opened: bool = False) -> None:
        self._app = app
        self._types = types
        self._reveal = reveal or opened
        self._opened = opened
        self._words: dict[tuple[str, str], tuple[str, str]] = {}

    def line(self, event: RecordedEvent) -> str:
        """Write one event, without a line break."""
        component, name = event.component, event.type
        source, shown = self._words.get((component, name)) or self._name(component, name)
        causation, headers = event.causation_id, event.headers
        moment = written_time(event.microseconds)
        begin = (
            f'{{"specversion":"1.0","id":{_quoted(event.message_id)},"source":{source},"type":{shown},"time":"{moment}",'
            f'"datacontenttype":"application/json","correlationid":{_quoted(event.correlation_id)}'
        )
        parts = [begin]
        if causation is not None:
            parts.append(f',"causationid":{_quoted(causation)}')
        parts.append(
            f',"bus":"event","component":{_quoted(component)},"version":{event.version},"stream":{_quoted(event.stream)},'
            f'"streamposition":{event.stream_position},"position":{event.position},"depth":{event.depth}'
        )
        if headers:
            told = dict(headers) if self._reveal else redact(dict(headers))
            parts.append(f',"headers":{_quoted(to_json(told).decode())}')
        if self._reveal:
            data = self._types.opened(event) if self._opened else event.data
            parts.append(f',"data":{data.decode()}}}')
        else:
            keys = self._types.keys
            parts.append(_masked(event, hidden=keys is not None and keys.hidden))
        return "".join(parts)

    def _name(self, component: str, name: str) -> tuple[str, str]:
        entry = self._types.current(component, name)
        shown = name if entry is None else self._types.shown(entry)
        self._words[component, name] = words = (_quoted(f"/{self._app}/{component}"), _quoted(shown))
        return words


def written_time(microseconds: int) -> str:
    """Write a moment as RFC 3339 in UTC, exactly."""
    moment = EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _masked(event: RecordedEvent, *, hidden: bool) -> str:
    """Write the end of a masked line. Without its class nobody knows what in a payload is secret: it is not shown."""
    shown: dict[str, Any]
    try:
        shown = shown_fields(event.message)
        if hidden and MARK in event.data:  # sealed, perhaps erased: without keys nobody can tell
            shown |= {name: MASK for name in from_json(event.data).get(SEALED, ()) if name in shown}
    except MicrolithError as error:
        return f',"masked":true,"unreadable":{_quoted(str(error))}}}'
    return f',"masked":true,"data":{to_json(shown).decode()}}}'
