"""The handlings of one correlation that are under way, told again and again to a client that draws them.

The runtime records a handling when it has ended. Until then it is only found by looking, and that is done
for nobody but such a client: a handling costs no more because somebody may want to see it.
"""

import asyncio
from collections.abc import Callable
from time import time
from typing import Any

from microlith import Microlith
from microlith.clock import iso
from microlith.errors import NotRunningError
from microlith_cli.causation import STARTED

Fact = dict[str, Any]

EVERY = 0.1
"""Seconds between two looks."""
_AT_MOST = 200
"""As many handlings are told of; nobody could read more."""


async def tell_at_work(app: Microlith, correlation: str, tell: Callable[[list[Fact]], object]) -> None:
    """Tell which handlings of a correlation are under way, as facts, until cancelled or until the application stops."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            running = app.running().get(correlation, [])
        except NotRunningError:
            return
        tell([_fact(correlation, entry) for entry in running[:_AT_MOST]])


def _fact(correlation: str, entry: dict[str, Any]) -> Fact:
    told = {name: entry[name] for name in ("handler", "message", "attempt", "queued_ms")}
    return {
        "type": STARTED,
        "time": iso(time() - entry["ms"] / 1000),
        "correlationid": correlation,
        "causationid": entry["message_id"],
        "data": told,
    }
