"""The verbs about the store's health: where it stands, and whether every checksum in it is right.

`verify` reads the whole log beside the work that goes on, and slows nobody but the disk.

Mends nothing.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

from microlith import Microlith
from microlith.urls import masked
from microlith_cli.errors import DONE

Line = dict[str, Any]

MOST_LETTERS = 10_000
"""Dead letters are counted up to here."""
MOST_FAULTS = 100
"""Snapshots that are of no use are named up to here."""
_PAGE = 500
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
    said: Line = {"url": masked(app.store_url), "durability": store.durability, "engine": store.engine}
    said |= {"head": await store.head(), "projections": projections, "dead_letters": letters}
    said["failure"] = None if store.failure is None else str(store.failure)
    return {"store": said, "end": True, "exit": DONE}


async def verified(app: Microlith, reply: Callable[[Line], None]) -> Line:
    """Walk the log and say how many events are sound; and of the snapshots, how many there are and which are not.

    Raises:
        CorruptionError: Names the first that is not.
    """
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if done >= total or now - last >= _PROGRESS_SECONDS:
            last = now
            reply({"progress": {"done": done, "total": total}})

    events, (checked, faults) = await app.store.verify(progress), await app.store.check_snapshots()
    return {"verified": events, "snapshots": [checked, faults[:MOST_FAULTS]], "end": True, "exit": DONE}
