"""Tasks: every task of a running application is held here, and none ends in silence."""

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from microlith.delivery import Delivery
from microlith.handlers.lanes import WorkerTask
from microlith.tracing.log import TraceLog
from microlith.tracing.tracer import Follower

logger = logging.getLogger("microlith")

_WATCH_INTERVAL = 0.05
"""Seconds between two looks at the handlers at work."""
_BLOCKED = 0.25
"""Seconds without a turn for other tasks that are worth a warning."""


class Tasks:
    """Holds the tasks of one application."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task and hold it until it ends; an error it ends with is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def spawn_worker(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start the task of a lane's worker and hold it."""
        task = WorkerTask(work, loop=asyncio.get_running_loop(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self, patience: float = 1.0) -> None:
        """Cancel every task but the one that asks, a handler, and wait until they have ended; not longer than some seconds."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=patience)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.critical("%s ended: %s", task.get_name(), task.exception(), exc_info=task.exception())


async def watch(delivery: Delivery) -> None:
    """Cancel handlers that run longer than they may, and name those that block the loop. Runs until cancelled."""
    before = monotonic()
    while True:
        await asyncio.sleep(_WATCH_INTERVAL)
        now = monotonic()
        if now - before > _WATCH_INTERVAL + _BLOCKED:
            guilty = delivery.tracer.slow_handlers(_BLOCKED, before)
            logger.warning(
                "The event loop was blocked for %.0f ms%s. Write blocking handlers as plain `def`: those run in a thread.",
                (now - before) * 1000,
                f" while {', '.join(guilty)} ran" if guilty else "",
            )
        before = now
        for lane in delivery.routes.lanes():
            lane.check_timeouts(now)


async def write_trace(log: TraceLog, follower: Follower) -> None:
    """Write every fact into the trace log. Runs until the tracer stops."""
    try:
        async for facts in follower:
            log.write(facts)
        log.write(follower.take())
    finally:
        log.close()
