"""A line to the broker: one connection, made again whenever it is lost.

The library's own connection that mends itself is not used: it hands out what it had fetched before a loss as if it could
still be settled, and it gives nobody a moment between the loss and the return.

Ends nothing by itself: whoever waits for a line waits until it is there, or closed.
"""

import asyncio
import logging
import random
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from ssl import SSLContext
from typing import Any, cast

from aiormq import AMQPError, Channel, Connection, ConnectionClosed, TransportFactory
from pamqp.exceptions import PAMQPException
from yarl import URL

from microlith.transports.errors import TopologyDriftError, TransportUnavailableError
from microlith.transports.rabbitmq.place import Place

logger = logging.getLogger("microlith.transports")
logging.getLogger("aiormq").addHandler(logging.NullHandler())  # what it warns of is told here, once

_LOST = (AMQPError, PAMQPException, OSError, EOFError, RuntimeError, StopAsyncIteration, TimeoutError)
_NOBODY_THERE = (ConnectionRefusedError, ConnectionResetError, TimeoutError)
"""Says nothing new of a broker that was lost; any other reason may be one that no waiting mends."""
_PATIENCE = 10.0
"""Seconds for a connection to be made, or taken down."""
_PREPARING = 120.0
"""Seconds for what is done on it first. A broker whose disk is slow takes seconds for each queue, and what it had begun is
begun anew by the next try; one that is gone is noticed long before, by its heartbeat."""
_CANCELLED_AGAIN = 0.5
"""Seconds after which a task that goes on although it was cancelled is cancelled again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 3.0
"""Seconds between two tries; each pause is twice the one before."""

Prepare = Callable[["Connected"], Awaitable[None]]
"""Makes what has to be there, once a connection is."""


class Line:
    """One connection at a time.

    Args:
        place: Where the broker is.
        label: What the broker shows for the connection.
        prepare: What is done on each new one before it is used.
        told: Called with False and why when it is lost, with True when it is back.
    """

    def __init__(self, place: Place, label: str, prepare: Prepare, told: Callable[["Line", bool, str], None]) -> None:
        self._place = place
        self._label = label
        self._prepare = prepare
        self._told = told
        self._now: Connected | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            TransportUnavailableError: That failed; nothing is left of it.
            TopologyDriftError: What was to be prepared differs; nothing is left of it.
        """
        self._now = await self._connect()
        self._keeper = asyncio.create_task(self._keep(self._now), name=f"line to {self._place.shown}")

    async def get(self) -> "Connected":
        """Return the connection, when there is one.

        Raises:
            TransportUnavailableError: The line is closed.
        """
        while self._now is None or self._now.is_closed:
            if self._closed:
                raise TransportUnavailableError(self._place.shown, "the transport was closed")
            self._changed.clear()
            await self._changed.wait()
        return self._now

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._keeper is not None:
            await end_task(self._keeper)
        if self._now is not None:
            await self._now.hang_up()
            self._now = None
        self._changed.set()

    async def _keep(self, connection: "Connected") -> None:
        """See a connection end, and make the next."""
        while True:
            why = await connection.end()
            self._now = None
            await connection.hang_up()
            logger.info("The connection to %s was lost: %s", self._place.shown, why)
            self._told(self, False, why)  # noqa: FBT003 (as watchers are told)
            connection = self._now = await self._connect_again()
            logger.info("The connection to %s is back", self._place.shown)
            self._changed.set()
            self._told(self, True, "")  # noqa: FBT003 (as watchers are told)

    async def _connect_again(self) -> "Connected":
        """Try until it works."""
        pause, said = _FIRST_PAUSE, ""
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (many clients at a time, no secret)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                return await self._connect()
            except (TransportUnavailableError, TopologyDriftError) as error:
                if said != str(error):
                    said = str(error)
                    level = logging.INFO if isinstance(error.__cause__, _NOBODY_THERE) else logging.WARNING
                    logger.log(level, "%s. It is tried again.", said.rstrip("."))
            except Exception:  # nobody else would ever make the connection again
                logger.exception(
                    "Connecting to %s failed in a way that nobody expected. It is tried again.", self._place.shown
                )

    async def _connect(self) -> "Connected":
        connection: Connected | None = None
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = Connected(self._place, self._label, self._place.security())
                await connection.connect()
            async with asyncio.timeout(_PREPARING):
                await self._prepare(connection)
        except BaseException as error:
            if connection is not None:
                await connection.hang_up()
            if is_loss(error):
                raise TransportUnavailableError(self._place.shown, text_of(error)) from error
            raise
        return connection


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended; raise what it ended with, if that is something else.

    The library may turn a cancellation into an error of its own, which looks as if a connection had been lost.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCELLED_AGAIN)
    with suppress(asyncio.CancelledError):
        task.result()


def is_loss(error: BaseException) -> bool:
    """Tell whether an error means that a connection or a channel has ended.

    The library has many for that. Among them are an Exception without any text, and the cancellation of whoever waits for an
    answer, which is to be told from one that somebody wants.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return isinstance(error, _LOST) or type(error) is Exception


@contextmanager
def overlooking_loss() -> Iterator[None]:
    """Go on when a connection or a channel ends meanwhile."""
    try:
        yield
    except BaseException as error:
        if not is_loss(error):
            raise


def text_of(error: BaseException) -> str:
    """Tell what the library means by an error."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it does not answer"
    if isinstance(error, ConnectionClosed) and len(error.args) > 1:
        return str(error.args[1])
    if "Connection.OpenOk" in str(error):  # it hung up instead of that
        return "it has no such virtual host, or none that this user may enter"
    return str(error) or "it was closed"


class _Wire(TransportFactory):
    """Opens the socket of a connection, and keeps hold of it, so that it can be cut."""

    def __init__(self, security: SSLContext | None) -> None:
        self._security = security
        self._writer: StreamWriter | None = None

    async def create(self, url: URL, **_: Any) -> tuple[StreamReader, StreamWriter]:
        """Open it."""
        reader, self._writer = await asyncio.open_connection(url.host, url.port, ssl=self._security)
        return reader, self._writer

    def cut(self) -> None:
        """Close it at once, whatever is still to be written."""
        if self._writer is not None:
            self._writer.transport.abort()


class Connected(Connection):
    """The library's connection, which notices sooner that nothing comes any more, and can be cut."""

    HEARTBEAT_GRACE_MULTIPLIER = 2

    def __init__(self, place: Place, label: str, security: SSLContext | None) -> None:
        self._wire = _Wire(security)
        super().__init__(place.amqp, transport_factory=self._wire, client_properties={"connection_name": label})

    async def open_channel(self, *, confirms: bool) -> Channel:
        """Open a channel; one that confirms also says what no queue was found for."""
        return cast("Channel", await self.channel(publisher_confirms=confirms, on_return_raises=confirms))

    async def end(self) -> str:
        """Wait until it is lost; return why."""
        closing = self.closing
        await asyncio.wait([closing])
        error = None if closing.cancelled() else closing.exception()
        if isinstance(error, asyncio.CancelledError):  # the library stops reading when nothing comes any more
            return "nothing comes over it any more"
        return "it was closed" if error is None else text_of(error)

    async def hang_up(self) -> None:
        """Close it, in an orderly way if the broker answers; leave nothing of it."""
        try:
            if not self.is_closed and hasattr(self, "_writer_task"):
                with overlooking_loss():
                    async with asyncio.timeout(_PATIENCE):
                        await self.close(ConnectionClosed(0, "the transport was closed"))
        finally:
            self._wire.cut()
            await self._release()

    async def _release(self) -> None:
        """Let go of whoever waits to write: the library ends those who wait for an answer, and not those."""
        while not self.write_queue.empty():
            while not self.write_queue.empty():
                self.write_queue.get_nowait()
            await asyncio.sleep(0)
