"""The verbs about dead letters: list them, try one again, drop one.

A retry that takes longer than its client waits goes on; the letter tells later how it ended.

Reads no ids that people type: a client names a letter by its sequence.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from microlith import Microlith
from microlith.clock import iso
from microlith.errors import PayloadError, StoreError, UnknownTypeError
from microlith.event_store.protocol import DeadLetter
from microlith_cli.errors import DONE, TIMED_OUT, ToolError, UsageError

Line = dict[str, Any]

PAGE = 100
"""Letters in one answer at most: it stays well below what may wait for a client to read it."""
DEFAULT_TIMEOUT = 30.0
LONGEST_TIMEOUT = 24 * 3600.0


class RetryStillRunningError(ToolError):
    """A retry has not ended in the time its client gave it; it goes on."""

    exit = TIMED_OUT

    def __init__(self, letter: int, timeout: float) -> None:
        super().__init__(
            f"The retry of dead letter {letter} has not ended after {timeout:g} s.",
            hint="It goes on; `microlith dead-letters` shows whether the letter is still there.",
        )


async def listed(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Answer with a page of dead letters, oldest first; with `data`, also with their payloads, redacted."""
    after = _number(request, "after", least=0, default=0)
    limit = min(_number(request, "limit", least=1, default=PAGE), PAGE)
    if app.store.failure is None:
        await app.store.flush()  # a failure is told before it is written
    letters = await app.store.dead_letters(after=after, limit=limit)
    reads = request.get("data") is True
    shown = [_shown(letter) | (await _payload(app, letter) if reads else {}) for letter in letters]
    return {"dead_letters": shown, "end": True, "exit": DONE}


async def retried(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Have a dead letter tried again and wait for how that ends.

    Raises:
        HandlerFailedError: It failed again.
        RetryStillRunningError: It takes longer than the client waits.
    """
    sequence = _number(request, "sequence", least=1)
    timeout = request.get("timeout", DEFAULT_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise UsageError(f"`timeout` is a number of seconds, more than 0 and at most {LONGEST_TIMEOUT:.0f}.")
    retry = asyncio.ensure_future(app.retry_dead_letter(sequence))
    try:
        ended, _ = await asyncio.wait([retry], timeout=timeout)
    finally:
        retry.cancel()  # ends the waiting only
    if not ended:
        raise RetryStillRunningError(sequence, timeout)
    retry.result()
    return {"retried": sequence, "end": True, "exit": DONE}


async def dropped(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Remove a dead letter."""
    sequence = _number(request, "sequence", least=1)
    await app.drop_dead_letter(sequence)
    return {"dropped": sequence, "end": True, "exit": DONE}


VERBS: dict[str, Callable[[Microlith, Mapping[str, Any]], Awaitable[Line]]] = {
    "dead_letters": listed,
    "retry_dead_letter": retried,
    "drop_dead_letter": dropped,
}


def _number(request: Mapping[str, Any], field: str, *, least: int, default: int | None = None) -> int:
    value = request.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 63:
        raise UsageError(f"`{field}` is a whole number from {least} on.")
    return value


def _shown(letter: DeadLetter) -> Line:
    line: Line = {
        "sequence": letter.sequence,
        "id": letter.message_id,
        "correlationid": letter.correlation_id,
        "time": iso(letter.time),
        "handler": letter.handler,
        "component": letter.component,
        "message": letter.type,
        "attempts": letter.attempts,
        "error": letter.error,
    }
    if letter.behind is not None:
        line["behind"] = letter.behind
    return line if letter.position is None else line | {"position": letter.position}


async def _payload(app: Microlith, letter: DeadLetter) -> Line:
    """Show the payload. Without its class nobody knows what in it is secret: then it is not shown."""
    try:
        envelope = await app.store.dead_message(letter)
    except (UnknownTypeError, PayloadError, StoreError) as error:
        return {"unreadable": str(error)}
    return {"data": app.cloud_event(envelope)["data"]}
