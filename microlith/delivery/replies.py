"""Replies: other processes are told what their messages have caused here, for whoever waits there.

A message that comes over a transport brings the inboxes of the processes it came through. Responses and failures go to them
from here, as long as this process lives; events go by the outbox, behind its checkpoint.

Waits for nothing; see `arriving` for what is heard.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from microlith.envelope import REPLY_TO, Envelope
from microlith.errors import HandlerFailedError, MicrolithError
from microlith.transports import Address, Inbox, Parcel, ParcelRefusedError, Transport, TransportError
from microlith.transports.cloud_events import Post

logger = logging.getLogger("microlith.transports")

_KEPT = 10_000
"""How many replies may wait for a broker that is away; then the oldest go."""
_BATCH = 500
_PAUSE = 0.2


class InboxReplies:
    """Sends responses and failures to the inboxes of other processes."""

    def __init__(self, transport: Transport, post: Post) -> None:
        self._transport = transport
        self._post = post
        self._waiting: deque[tuple[Address, Parcel]] = deque(maxlen=_KEPT)
        self._more = asyncio.Event()

    def inboxes_of(self, headers: Mapping[str, str] | None) -> list[str]:
        """Name the inboxes that are to hear of what a message with these headers says; not this process's own."""
        asked = headers.get(REPLY_TO, "") if headers else ""
        return [name for name in asked.split(",") if name and name != self._post.inbox]

    def answered(self, response: Envelope[Any]) -> None:
        """Tell whoever asked a question from elsewhere the answer."""
        inboxes = self.inboxes_of(response.headers)
        if not inboxes:
            return
        try:
            parcel = self._post.parcel(response)
        except MicrolithError as error:
            logger.error("A %s was not sent: %s", type(response.message).__name__, error)  # noqa: TRY400
        else:
            self._put(inboxes[-1:], parcel)  # whoever asked was the last one it came through

    def failed(self, envelope: Envelope[Any], failure: HandlerFailedError, *, asked: bool) -> None:
        """Tell the processes that a message came through that its handler failed."""
        inboxes = self.inboxes_of(envelope.headers)
        if inboxes:
            self._put(inboxes, self._post.failure_parcel(envelope, failure.handler, failure.reason, question=asked))

    async def run(self) -> None:
        """Send what is put here. Runs until cancelled."""
        while True:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
                await self._send(batch)
            self._more.clear()
            await self._more.wait()

    async def _send(self, batch: list[tuple[Address, Parcel]]) -> None:
        while batch:
            try:
                await self._transport.publish(batch)
            except ParcelRefusedError as refused:
                logger.error("A reply was not sent: %s", refused)  # noqa: TRY400
                batch = batch[refused.index + 1 :]
            except TransportError:
                await asyncio.sleep(_PAUSE)
            else:
                return

    def _put(self, inboxes: list[str], parcel: Parcel) -> None:
        self._waiting.extend((Inbox(name), parcel) for name in inboxes)
        self._more.set()
