"""The verb `idle`: wait until an application has nothing left to do, and say what went wrong until then.

For `run --once`. What is scheduled for later is not waited for.
"""

from collections.abc import Mapping
from typing import Any

from microlith import Microlith
from microlith_cli.errors import DONE, SAID_NO

_LOOK_EVERY = 60.0
"""Seconds after which a wait begins anew: nothing is between two of them."""
_PAGE = 500


async def idle(app: Microlith, request: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until no handler is at work or has anything waiting, and every projection is at the end of the log.

    Tells how many messages failed for good, and which handlers and projections have stopped. With `since`, seconds since
    the epoch, those count that failed from then on in a process that died.
    """
    while not await app.idle(_LOOK_EVERY):
        pass
    delivery = app.delivery
    lanes = () if delivery is None else delivery.routes.lanes()
    stopped = [lane.name for lane in lanes if lane.stopped]
    stopped += [each.name for each in await app.projections() if each.error is not None]
    failed = 0 if delivery is None else delivery.tracer.failed
    since = request.get("since")
    if isinstance(since, int | float):
        failed = max(failed, await _letters(app, since))
    return {"idle": {"failed": failed, "stopped": stopped}, "end": True, "exit": SAID_NO if failed or stopped else DONE}


async def _letters(app: Microlith, since: float) -> int:
    """Count the dead letters from a moment on."""
    count, last = 0, 0
    while page := await app.store.dead_letters(after=last, limit=_PAGE):
        count += sum(letter.time >= since for letter in page)
        last = page[-1].sequence
    return count
