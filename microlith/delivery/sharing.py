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
from microlith.errors import HandlerFailedError, MicrolithError, PayloadError, StoreError, UnknownTypeError
from microlith.event_store.protocol import EventStore
from microlith.event_store.sharing import Sharing
from microlith.handlers.lanes import Lane

logger = logging.getLogger("microlith")

LEFT_SECONDS = 30.0
"""How old a command must be that another process has accepted and not sent, before the one that leads sends it."""
_GATHERED_SECONDS = 0.01
"""How long what others commit is gathered before it is looked at again."""
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
        self._letter: int | None = None
        self._grown = asyncio.Event()

    def start(self, head: int, spawn: Spawn) -> None:
        """Begin to hear of what others append behind a position."""
        self._looked = head
        self._sharing.watch(self.wrote)
        spawn(self._tell(), "microlith shared store")

    async def carry_on_for_others(self) -> None:
        """Do what processes that are gone, or slow, have left: commands to be sent, letters that are parked behind nothing.

        Runs until cancelled, in the one that leads. What is sent twice is taken once: each message has its id.
        """
        waited: set[tuple[str, str, int]] = set()
        while True:
            await asyncio.sleep(LEFT_SECONDS)
            delivery = self._delivery
            try:
                await load_pending(delivery, delivery.timers.clock.time() - LEFT_SECONDS)
                waiting = [found for found in await delivery.store.keyed_letters() if found.waits]
            except MicrolithError as error:
                logger.warning("What other processes have left is looked for later: %s", error)
                continue
            delivery.retrying.go_on(found for found in waiting if (found.handler, found.key, found.first) in waited)
            waited = {(found.handler, found.key, found.first) for found in waiting}

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
        self._grown.set()

    async def _tell(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            self._delivery.timers.forget()
            try:
                await patiently(self._look)
            except MicrolithError as error:
                logger.warning("What others wrote could not be read for those who wait: %s", error)
            await asyncio.sleep(_GATHERED_SECONDS)

    async def _look(self) -> None:
        """Show the waits what was appended since, and what has failed."""
        head = await self._delivery.store.head()
        if self._delivery.waits.watched:
            await self._show_events(head)
            await self._tell_failures()
        else:  # a wait that begins later looks into the store itself
            self._letter = None
        self._looked = max(self._looked, head)

    async def _show_events(self, head: int) -> None:
        store, watched = self._delivery.store, self._delivery.waits.watched
        while watched and self._looked < head:
            page = await store.read_all(after=self._looked, limit=_PAGE)
            for event in page:
                waiting = watched.get(event.correlation_id)
                if waiting is not None and all(one.message_id != event.message_id for one in waiting.sent):
                    with suppress(PayloadError, UnknownTypeError):  # nobody here waits for what this code cannot read
                        waiting.offer(event.envelope)
            self._looked = page[-1].position if page else head

    async def _tell_failures(self) -> None:
        delivery = self._delivery
        store, watched = delivery.store, delivery.waits.watched
        if self._letter is None:
            self._letter = await self._sharing.newest_letter()
            for correlation_id, failed in [(one, await store.failure_of(one)) for one in list(watched)]:
                if failed is not None:
                    delivery.fail(correlation_id, HandlerFailedError(*failed))
        while letters := await store.dead_letters(after=self._letter, limit=_PAGE):
            self._letter = letters[-1].sequence
            for letter in letters:
                if letter.correlation_id in watched:
                    delivery.fail(letter.correlation_id, HandlerFailedError(letter.handler, letter.type, letter.error))


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
        if letters is not None and lane.spec.parks and lane.keyed is not None:
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
