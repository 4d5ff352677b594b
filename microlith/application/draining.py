"""Draining: when an application has nothing left to do."""

import asyncio
from time import monotonic

from microlith.delivery import Delivery

_LOOK_EVERY = 0.002
"""Seconds between two looks."""


async def drained(delivery: Delivery, deadline: float, *, queues: bool) -> bool:
    """Wait until no handler is at work and everything is committed; tell whether that came before the deadline.

    Args:
        delivery: The running heart.
        deadline: Monotonic seconds.
        queues: Also wait until nothing waits for a handler.
    """
    while True:
        if not _at_work(delivery, queues=queues):
            newest = delivery.tracer.newest
            await delivery.store.flush()
            # What was handled while the store was busy may have left something to commit.
            if not _at_work(delivery, queues=queues) and delivery.tracer.newest == newest:
                return True
        if monotonic() >= deadline:
            return False
        await asyncio.sleep(_LOOK_EVERY)


def _at_work(delivery: Delivery, *, queues: bool) -> bool:
    if queues and (delivery.retrying.goes_on or any(outbox.waiting for outbox in delivery.outboxes)):
        return True
    return delivery.timers.busy or any(lane.busy or (queues and lane.waiting) for lane in delivery.routes.lanes())
