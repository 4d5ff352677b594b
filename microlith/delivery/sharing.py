"""Sharing: what processes that share a store have to tell each other, as far as messages are concerned.

What others append reaches the handlers of events here, when this process leads, and whoever waits here, whether it leads or
not. What is handled by key is claimed first, so that no other process handles the same key meanwhile.

Commits nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from microlith.delivery.delivery import Delivery
from microlith.delivery.patience import patiently
from microlith.delivery.recovery import load_pending
from microlith.errors import HandlerFailedError, MicrolithError, StoreError
from microlith.event_store.protocol import EventStore
from microlith.event_store.sharing import Sharing
from microlith.handlers.lanes import Lane

logger = logging.getLogger("microlith")

LEFT_SECONDS = 30.0
"""How old a command must be that another process has accepted and not sent, before the one that leads sends it."""
_PAGE = 500

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class SharedStore:
    """The part in a shared store of one running application.

    Args:
        delivery: Its heart.
        sharing: The store's side.
    """

    def __init__(self, delivery: Delivery, sharing: Sharing) -> None:
        self._delivery = delivery
        self._sharing = sharing
        self._looked = -1
        self._grown = asyncio.Event()

    def start(self, head: int, spawn: Spawn) -> None:
        """Begin to hear of what others append behind a position."""
        self._looked = head
        self._sharing.watch(self.wrote)
        spawn(self._tell_waits(), "microlith shared store")

    async def carry_on_for_others(self) -> None:
        """Send what processes that are gone had accepted and not sent. Runs until cancelled; for the one that leads.

        What is sent twice is taken once: each message has its id.
        """
        while True:
            await asyncio.sleep(LEFT_SECONDS)
            try:
                await load_pending(self._delivery, self._delivery.timers.clock.time() - LEFT_SECONDS)
            except MicrolithError as error:
                logger.warning("What other processes have left is looked for later: %s", error)

    def wrote(self, head: int) -> None:
        """Have the handlers of events read on, and look for what is waited for.

        Called in the order of the commits, those of this process among them.

        Args:
            head: Up to where others have written.
        """
        for lane in self._delivery.routes.lanes():
            if lane.durable and lane.spec.message.__kind__ == "event" and lane.last_seen < head:
                lane.behind = True
                lane.missed = max(lane.missed, head)
                lane.wake()
        self._delivery.timers.forget()
        self._grown.set()

    async def _tell_waits(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                await patiently(self._look)
            except MicrolithError as error:
                logger.warning("What others wrote could not be read for those who wait: %s", error)

    async def _look(self) -> None:
        """Show the waits what was appended since, and what has failed."""
        delivery = self._delivery
        store, watched = delivery.store, delivery.waits.watched
        head = await store.head()
        while watched and self._looked < head:
            page = await store.read_all(after=self._looked, limit=_PAGE)
            for event in page:
                waiting = watched.get(event.correlation_id)
                if waiting is not None and all(one.message_id != event.message_id for one in waiting.sent):
                    waiting.offer(event.envelope)
            self._looked = page[-1].position if page else head
        self._looked = max(self._looked, head)
        for correlation_id in list(watched):
            failed = await store.failure_of(correlation_id)
            if failed is not None:
                delivery.fail(correlation_id, HandlerFailedError(*failed))


class KeyClaims:
    """Claims the keys of what a lane handles."""

    def __init__(self, store: EventStore, sharing: Sharing, lane_name: str, spawn: Spawn) -> None:
        component, handler, *_ = lane_name.split(".", 2)
        self._store = store
        self._sharing = sharing
        self._name = f"{component}.{handler}"  # the commands of one aggregate share their streams
        self._spawn = spawn

    async def take(self, lane: Lane, key: str) -> None:
        """Wait for a key, and know its dead letters."""
        letters = await self._sharing.claim(self._name, key)
        if lane.spec.parks and lane.keyed is not None:
            lane.keyed.know(key, letters)

    def let_go(self, key: str, *, committed: bool) -> None:
        """Let others have a key; they must find the dead letter that its message has become."""
        if committed:
            self._sharing.let_go(self._name, key)
        else:
            self._spawn(self._let_go_later(key), f"microlith lets go of a key of {self._name}")

    async def _let_go_later(self, key: str) -> None:
        with suppress(StoreError):  # then nothing will be written about it here: it is another process's to do
            await patiently(self._store.flush)
        self._sharing.let_go(self._name, key)
