"""The facts of one correlation as they come, and the knowledge of when there will be no more.

Counts: every message says how many handlers take it, every handling which messages it sent.

Dropped facts make the count wrong; then it is never known to be quiet, and the caller's timeout decides.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from microlith import Envelope, Message, Microlith

Fact = dict[str, Any]


class CorrelationFacts:
    """Follows one correlation from before its first message.

    Args:
        app: The running application.
        first: The message that starts the correlation.
        show: Gets each fact; None when only the end matters.

    Attributes:
        quiet: Set while every message that is known has been handled by all of its handlers.
        failure: How the first handler that failed did so; None when none has.
    """

    def __init__(self, app: Microlith, first: Envelope[Message], show: Callable[[Fact], object] | None) -> None:
        self._app = app
        self._correlation = first.correlation_id
        self._show = show
        self._expected = {first.message_id}
        self._handlings = 0
        self._heard = 0
        self._follower = app.tracer.follow()
        self._following = asyncio.create_task(self._follow())
        self.quiet = asyncio.Event()
        self.failure: Fact | None = None

    async def quiet_for(self, seconds: float) -> None:
        """Wait until nothing has been left to do for some seconds on end; 0: for a moment."""
        while True:
            await self.quiet.wait()
            heard = self._heard
            if seconds:
                await asyncio.sleep(seconds)
            if self.quiet.is_set() and self._heard == heard:
                return

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
            if fact.get("correlationid") == self._correlation:
                self._heard += 1
                self._count(fact)
                if self._show is not None:
                    self._show(fact)
        if not self._expected and self._handlings == 0:
            self.quiet.set()
        else:
            self.quiet.clear()

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
