"""Recovery: carries on what an earlier process accepted and did not finish.

Part of every start, without a command. A message whose handling was begun five times and never
ended, because the process died each time, becomes a dead letter. A stop that cuts a handler off does not count.
"""

import asyncio
import logging
from collections.abc import Callable
from math import inf

from microlith.context import Handling
from microlith.delivery.delivery import Delivery
from microlith.errors import HandlerFailedError, StoreError
from microlith.event_store.protocol import Settlement
from microlith.handlers.lanes import Lane
from microlith.messages import stored_names

logger = logging.getLogger("microlith")

MAX_ATTEMPTS = 5
_PAGE = 500
_COUNTED = 32
"""Left-over messages of a lane whose tries are counted. Whatever kills the process is near the front: a lane
keeps its order, and what came before was settled."""


async def load_pending(delivery: Delivery, until: float = inf) -> int:
    """Put the commands that were accepted and not settled into their lanes; return how many wait for a handler in vain.

    Args:
        delivery: Where the lanes are. What is in them already is passed over.
        until: Only those that were sent before, seconds since the epoch.
    """
    known = {one.envelope.message_id for lane in delivery.routes.lanes() for one in lane.unfinished()}
    after, orphans = -1, 0
    while page := await delivery.store.pending_commands(after=after, limit=_PAGE):
        after = page[-1].sequence
        for pending in page:
            route = delivery.routes.get(type(pending.envelope.message))
            if route is None or not route.lanes:
                orphans += 1
            elif pending.envelope.time < until and pending.envelope.message_id not in known:
                route.lanes[0].push(pending.envelope, attempt=0)
    return orphans


async def take_back(delivery: Delivery) -> None:
    """Take back the counts of what a stop is about to cut off: only the end of a process uses tries up."""
    begun = [
        (lane.spec.name, handling.envelope)
        for lane in delivery.routes.lanes()
        for slot in lane.slots
        if lane.durable and (handling := slot.handling) is not None
        # What is tried for the first time was not counted, and what pauses between two tries is not counted yet.
        if handling.attempt == 0 or handling.attempt > 1 or handling.letter is not None
    ]
    if not begun:
        return
    try:
        await delivery.store.uncount(begun)
    except StoreError as error:
        logger.warning("What the stop cuts off counts as tried: %s", error)


async def position_lane(delivery: Delivery, lane: Lane, head: int) -> None:
    """Set an event lane to where its handler stood; a new handler begins with what comes next."""
    checkpoint, finished = await delivery.store.checkpoint(lane.spec.name, start=head)
    lane.last_seen = lane.highest_done = checkpoint
    lane.finished_above = set(finished)
    lane.recovering_to = head
    lane.behind = checkpoint < head
    lane.missed = head


async def refill(delivery: Delivery, lane: Lane) -> None:
    """Read the next page that a lane missed; end its being behind when it has seen everything."""
    missed, messages = lane.missed, lane.spec.messages
    names = [name for cls in messages for name in stored_names(cls)]
    page = await delivery.store.read_all(after=lane.last_seen, limit=_PAGE, types=names)
    for event in page:
        if event.position not in lane.finished_above and type(event.message) in messages:
            lane.push(event.envelope, event.position, attempt=0 if event.position <= lane.recovering_to else 1)
        lane.last_seen = event.position
    if len(page) < _PAGE:
        # The log was read to its end: what had been missed by then held nothing more for this lane.
        lane.last_seen = max(lane.last_seen, missed)
    if lane.last_seen >= lane.missed:
        lane.behind = False


async def count_attempt(
    delivery: Delivery,
    lane: Lane,
    handling: Handling,
    settlement: Callable[..., Settlement],
    settle: Callable[[Handling, Settlement], None],
) -> int | None:
    """Count, durably and before handling, that a message is tried again; pause first if it failed in this process."""
    if handling.arrival is not None and await delivery.store.arrived(handling.envelope.message_id) is not None:
        handling.arrival.settle()  # another process had it, too, and was quicker
        return None
    tried, retry = -handling.attempt, lane.retry
    if tried and retry is not None:
        await asyncio.sleep(retry.pause(tried - handling.tried_before))
    else:
        lane.counted += 1
    if handling.letter is not None:  # a crash leaves the letter as it was, so that no count can run away
        return tried + 1
    if not lane.durable or (not tried and lane.counted > _COUNTED):
        return tried + 1 if tried else 2
    try:
        attempts = 1 + await delivery.store.begin_again(lane.spec.name, handling.envelope)
    except (
        StoreError
    ) as error:  # the lane must outlive it; the store tells the handler's commit whether it still writes
        logger.warning("A try of %s could not be counted: %s", lane.name, error)
        return tried + 1 if tried else 2
    if attempts <= (MAX_ATTEMPTS if retry is None else max(retry.attempts, MAX_ATTEMPTS)):
        return attempts
    reason = f"The process ended {MAX_ATTEMPTS} times while this message was handled."
    handling.attempt = MAX_ATTEMPTS
    settle(handling, settlement(lane, handling, reason))
    failure = HandlerFailedError(lane.spec.name, type(handling.envelope.message).__name__, reason)
    delivery.fail(handling.envelope.correlation_id, failure)
    return None
