"""The verbs about health: where the store stands, whether every checksum in it is right and every event readable; the brokers.

`verify` reads the whole log beside the work that goes on, and slows nobody but the disk.

Mends nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from microlith import Microlith
from microlith.application.looking import look
from microlith.places import store_beside
from microlith.urls import masked
from microlith_cli.errors import DONE
from microlith_cli.event_log.decoding import Unreadable

Line = dict[str, Any]

MOST_LETTERS = 10_000
"""Dead letters are counted up to here."""
MOST_FAULTS = 100
"""Snapshots that are of no use are named up to here."""
_PAGE = 500
_DECODED = 200
"""Events that are decoded in one turn of the loop: about a millisecond."""
_PROGRESS_SECONDS = 0.05


async def standing(app: Microlith) -> Line:
    """Say where the store stands: its url, how many events, each projection, how many dead letters."""
    store = app.store
    if store.failure is None:
        await store.flush()
    letters, last = 0, 0
    while letters < MOST_LETTERS and (page := await store.dead_letters(after=last, limit=_PAGE)):
        letters, last = letters + len(page), page[-1].sequence
    projections = [{**each._asdict(), "seconds": round(each.seconds, 3)} for each in await app.projections()]
    url = masked(store_beside(app.store_url, app.wire().runs))
    said: Line = {"url": url, "durability": store.durability, "engine": store.engine}
    said |= {"head": await store.head(), "projections": projections, "dead_letters": letters}
    said["failure"] = None if store.failure is None else str(store.failure)
    return {"store": said, "end": True, "exit": DONE}


async def verified(app: Microlith, request: Mapping[str, Any], reply: Callable[[Line], None]) -> Line:
    """Walk the log and say how many events are sound; and of the snapshots, how many there are and which are not.

    With `decode`, say also which events today's code cannot read.

    Raises:
        CorruptionError: Names the first that is not sound.
    """
    events = await app.store.verify(_Progress("checksums", reply))
    checked, faults = await app.store.check_snapshots()
    line: Line = {"verified": events, "snapshots": [checked, faults[:MOST_FAULTS]], "end": True, "exit": DONE}
    if request.get("decode") is True:
        line["unreadable"] = (await _decoded(app, _Progress("decoding", reply))).kinds
    return line


async def brokers(app: Microlith, _request: Mapping[str, Any]) -> Line:
    """Look at every broker that carries something for this process."""
    return {"brokers": await seen_of_brokers(app), "end": True, "exit": DONE}


async def seen_of_brokers(app: Microlith) -> list[Line]:
    """Say of each broker where it is, what it carries, what it lacks or has otherwise, and why it cannot be looked at.

    Raises:
        WiringError: The buses are not configured right.
    """
    return [
        {
            "broker": one.broker,
            "carries": list(one.carries),
            "changes": [change._asdict() for change in one.changes],
            "error": None if one.error is None else {"message": str(one.error), "hint": one.error.hint},
        }
        for one in await look(app.connections())
    ]


async def _decoded(app: Microlith, progress: Callable[[int, int], None]) -> Unreadable:
    """Decode every event that is in the log now, a little at a time, so that nobody waits for it."""
    found, after, head = Unreadable(), -1, await app.store.head()
    while after < head:
        page = await app.store.read_all(after=after, limit=_DECODED)
        found.look(page)
        after = page[-1].position
        progress(min(after, head) + 1, head + 1)
        await asyncio.sleep(0)
    return found


class _Progress:
    """Passes on how far a step is, some twenty times a second."""

    def __init__(self, step: str, reply: Callable[[Line], None]) -> None:
        self._step = step
        self._reply = reply
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` events are looked at."""
        now = monotonic()
        if done >= total or now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self._reply({"progress": {"step": self._step, "done": done, "total": total}})
