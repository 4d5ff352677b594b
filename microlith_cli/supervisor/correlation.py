"""The facts of one correlation as they come, and the knowledge of when there will be no more.

Counts: every message says how many handlers take it, every handling which messages it sent.

Under a flood the tracer drops facts, which makes the count wrong; from then on the handlers' queues are looked through
instead, again and again. So they are from the beginning when an earlier worker has begun: its facts are not known here.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from microlith import Envelope, HandlerFailedError, Message, Microlith
from microlith.delivery import Delivery
from microlith.errors import NotRunningError
from microlith.tracing.tracer import describe_error

Fact = dict[str, Any]

_DROPPED = "microlith.dropped"
_LOOK_EVERY = 0.05
"""Seconds between two looks into the queues: of ten thousand messages, a millisecond or two."""


class CorrelationFacts:
    """Follows one correlation from before its first message.

    Args:
        app: The running application.
        first: The message that starts the correlation.
        show: Gets each fact, and how many were dropped; None when only the end matters.
        begun: Whether an earlier worker has sent the message.

    Attributes:
        failure: How the first handler that is known to have failed did so; None when none is.
    """

    def __init__(
        self,
        app: Microlith,
        first: Envelope[Message],
        show: Callable[[Fact], object] | None,
        *,
        begun: bool = False,
    ) -> None:
        self._app = app
        self._correlation = first.correlation_id
        self._show = show
        self._expected = {first.message_id}
        self._handlings = 0
        self._heard = 0
        self._missed = begun
        self._settled = asyncio.Event()  # all that is known of has been handled, or not all is known
        self._follower = app.tracer.follow()
        self._following = asyncio.create_task(self._follow())
        self.failure: Fact | None = None
        if begun:
            self._settled.set()

    async def quiet_for(self, seconds: float) -> None:
        """Wait until nothing has been left to do for some seconds on end; 0: for a moment.

        Raises:
            NotRunningError: The application stopped before.
        """
        while not self._missed:
            await self._settled.wait()
            heard = self._heard
            if seconds:
                await asyncio.sleep(seconds)
            if self._settled.is_set() and self._heard == heard and not self._missed:
                return
        await self._looked_quiet(seconds)

    async def _looked_quiet(self, seconds: float) -> None:
        """Wait until nothing of the correlation is found with a handler, or on its way to one, for some seconds on end."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        heard = self._heard
        while True:
            delivery = self._delivery()
            if not self._is_found(delivery):
                await delivery.store.flush()  # what was handled may have left something to commit
            if self._is_found(delivery) or self._heard != heard:  # what came and went between two looks may be heard of
                since, heard = None, self._heard
            elif since is None:
                since = loop.time()
            elif loop.time() - since >= seconds:
                break
            await asyncio.sleep(_LOOK_EVERY)
        await self._look_for_failure(delivery)

    def _delivery(self) -> Delivery:
        if self._app.delivery is None:
            raise NotRunningError(self._app.name)
        return self._app.delivery

    def _is_found(self, delivery: Delivery) -> bool:
        # A lane or an outbox that is behind the log may have some to read.
        return any(
            lane.catching_up or any(one.envelope.correlation_id == self._correlation for one in lane.unfinished())
            for lane in delivery.routes.lanes()
        ) or any(outbox.waiting for outbox in delivery.outboxes)

    async def _look_for_failure(self, delivery: Delivery) -> None:
        """Find the failure whose fact may have been dropped."""
        failure = delivery.failed.get(self._correlation)
        if failure is None and (known := await delivery.store.failure_of(self._correlation)) is not None:
            failure = HandlerFailedError(*known)
        if failure is None or self.failure is not None:
            return
        place = {} if failure.__cause__ is None else describe_error(failure.__cause__)
        self.failure = {
            "type": type(failure).__name__,
            "message": str(failure),
            **{name: place[name] for name in ("file", "line", "source") if name in place},
        }

    def finish(self) -> None:
        """Take what has happened until now and no more."""
        if self._app.delivery is not None:
            self._app.delivery.tracer.flush()
        self._take(self._follower.take())
        self.close()

    def close(self) -> None:
        """Stop following. Safe to call twice."""
        self._follower.close()
        self._following.cancel()

    async def _follow(self) -> None:
        async for facts in self._follower:
            self._take(facts)

    def _take(self, facts: list[Fact]) -> None:
        for fact in facts:
            if fact["type"] == _DROPPED:
                self._missed = True
            elif fact.get("correlationid") == self._correlation:
                self._heard += 1
                self._count(fact)
            else:
                continue
            if self._show is not None:
                self._show(fact)
        if self._missed or (not self._expected and self._handlings == 0):
            self._settled.set()
        else:
            self._settled.clear()

    def _count(self, fact: Fact) -> None:
        if "bus" in fact:
            self._expected.discard(fact["id"])
            self._handlings += fact["handlers"]
            return
        if fact["type"] == "microlith.scheduled":  # it comes when it is due; nobody waits so long
            self._expected.discard(fact["id"].removesuffix("/scheduled"))
        if fact["type"] != "microlith.handled":
            return
        data = fact["data"]
        self._handlings -= 1
        self._expected.update(data["sent"])
        if data["outcome"] not in {"ok", "ignored"} and self.failure is None:
            error = data.get("error", {})
            self.failure = {
                "type": "HandlerFailedError",
                "message": f"Handler {data['handler']} failed on {data['message']}: "
                f"{error.get('type', data['outcome'])}: {error.get('message', '')}",
                **{name: error[name] for name in ("file", "line", "source") if name in error},
            }
