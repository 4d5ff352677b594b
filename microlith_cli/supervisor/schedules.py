"""The verbs about schedules: list them, cancel one.

Reads no ids that people type: a client names a schedule by the id of its message.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from microlith import Microlith
from microlith.clock import iso
from microlith.errors import MicrolithError
from microlith.event_store.schedule import FIRST, Schedule, Turn
from microlith_cli.errors import DONE, SAID_NO, ToolError, UsageError

Line = dict[str, Any]

PAGE = 100
"""Schedules in one answer at most: it stays well below what may wait for a client to read it."""


class UnknownScheduleError(ToolError):
    """There is no such schedule; it may have been there before."""

    exit = SAID_NO

    def __init__(self, message_id: str) -> None:
        super().__init__(
            f"No message {message_id} is scheduled.",
            hint="It may have been sent, or cancelled. `microlith schedules` lists those there are.",
        )


async def listed(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Answer with a page of schedules, the next one first; with `data`, also with their payloads, redacted."""
    limit = request.get("limit", PAGE)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UsageError("`limit` is a whole number from 1 on.")
    if app.store.failure is None:
        await app.store.flush()
    only = request.get("message_id")
    if isinstance(only, str):
        found = await app.store.schedule(only)
        schedules = [found] if found else []
    else:
        schedules = await app.store.schedules(after=_turn(request.get("after")), limit=min(limit, PAGE))
    reads = request.get("data") is True
    shown = [_shown(schedule) | (_payload(app, schedule) if reads else {}) for schedule in schedules]
    return {"schedules": shown, "end": True, "exit": DONE}


async def cancelled(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Have a scheduled message not sent after all."""
    message_id = request.get("message_id")
    if not isinstance(message_id, str):
        raise UsageError("`message_id` is the id of a scheduled message.")
    if not await app.cancel_schedule(message_id):
        raise UnknownScheduleError(message_id)
    return {"cancelled": message_id, "end": True, "exit": DONE}


VERBS: dict[str, Callable[[Microlith, Mapping[str, Any]], Awaitable[Line]]] = {
    "schedules": listed,
    "cancel_schedule": cancelled,
}


def _turn(after: Any) -> Turn:
    """Read where the page before ended: when the last one is due, and its sequence."""
    if after is None:
        return FIRST
    match after:
        case [int() | float() as due, int() as sequence] if abs(sequence) < 1 << 63:
            return float(due), sequence
    raise UsageError("`after` is the `turn` of a schedule: when it is due, and its sequence.")


def _shown(schedule: Schedule) -> Line:
    line: Line = {
        "id": schedule.message_id,
        "correlationid": schedule.correlation_id,
        "due": iso(schedule.due),
        "time": iso(schedule.asked),
        "component": schedule.component,
        "message": schedule.type,
        "turn": list(schedule.turn),
    }
    if schedule.causation_id is not None:
        line["causationid"] = schedule.causation_id
    if schedule.name is not None:
        line["name"] = schedule.name
    return line if schedule.error is None else line | {"error": schedule.error}


def _payload(app: Microlith, schedule: Schedule) -> Line:
    """Show the payload. Without its class nobody knows what in it is secret: then it is not shown."""
    try:
        return {"data": app.cloud_event(schedule.envelope)["data"]}
    except MicrolithError as error:
        return {"unreadable": str(error)}
