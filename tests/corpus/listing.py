"""What a store tells about its log, as JSON lines that can be compared."""

import json
from typing import Any

from microlith.errors import UnknownTypeError
from microlith.event_store.protocol import EventStore, RecordedEvent
from microlith.secrecy import reveal
from tests.corpus.shapes import today

HANDLERS = ("prices.reprice", "prices.cut", "notes.read_note")


async def listing(store: EventStore) -> list[str]:
    """List everything that an open store keeps, as its protocol tells it."""
    events = await store.read_all(limit=10_000)
    lines: list[dict[str, Any]] = [{"head": await store.head(), "verified": await store.verify()}]
    lines += [{"event": _event(event)} for event in events]
    for name in sorted({event.stream for event in events}):
        stream = await store.read(name)
        lines.append({"stream": name, "positions": [(event.position, event.stream_position) for event in stream]})
    for correlation in sorted({event.correlation_id for event in events}):
        found = await store.read_correlation(correlation)
        lines.append({"correlation": correlation, "positions": [event.position for event in found]})
    for pending in await store.pending_commands():
        lines.append({"pending": _envelope(pending.envelope), "attempts": pending.attempts})
    lines += [await _letter(store, letter) for letter in await store.dead_letters()]
    for handler in HANDLERS:
        position, finished = await store.checkpoint(handler, start=-1)
        lines.append({"checkpoint": handler, "position": position, "finished": sorted(finished)})
    states = {state.name: (state.checkpoint, state.error, state.rows) for state in await store.projection_states()}
    lines += [{"projection": name, "state": state} for name, state in sorted(states.items())]
    for projection in today().wire().projections:
        for table in projection.tables:
            rows = store.rows.find(table, {}, 1000)
            lines.append({"table": table.name, "rows": [json.loads(row) for row in rows]})
    return [json.dumps(line, ensure_ascii=True, sort_keys=True) for line in lines]


def _event(event: RecordedEvent) -> dict[str, Any]:
    try:
        message: Any = {"class": type(event.message).__name__, "fields": reveal(event.message)}
    except UnknownTypeError as error:
        message = {"error": str(error).partition(";")[0]}
    return {
        "position": event.position,
        "stream": event.stream,
        "stream_position": event.stream_position,
        "type": event.type,
        "component": event.component,
        "version": event.version,
        "message_id": event.message_id,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "microseconds": round(event.time * 1_000_000),
        "depth": event.depth,
        "headers": event.headers,
        "data": event.data.decode(),
        "message": message,
    }


def _envelope(envelope: Any) -> dict[str, Any]:
    return {
        "message_id": envelope.message_id,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "microseconds": round(envelope.time * 1_000_000),
        "depth": envelope.depth,
        "headers": envelope.headers,
        "class": type(envelope.message).__name__,
        "fields": reveal(envelope.message),
    }


async def _letter(store: EventStore, letter: Any) -> dict[str, Any]:
    return {
        "dead_letter": letter.sequence,
        "handler": letter.handler,
        "position": letter.position,
        "error": letter.error,
        "attempts": letter.attempts,
        "type": f"{letter.component}.{letter.type}",
        "data": letter.data.decode(),
        "failure_of": await store.failure_of(letter.correlation_id),
        "message": _envelope(await store.dead_message(letter)),
    }
