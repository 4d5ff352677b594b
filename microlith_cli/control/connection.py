"""One client of the control channel: its requests in, its replies out, both bounded.

It refuses what is malformed or unknown and hands the rest to its host. A client that does not read costs
one buffer: facts for it are dropped and counted, and if even answers do not fit, it is cut off.

Knows the form of a request (an id and a verb) and no verb's meaning.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from microlith_cli.control.lines import MAX_LINE, decode, encode
from microlith_cli.errors import ToolError, UnsafeJsonError, UsageError, nearest

BUFFER = 1 << 20  # bytes that wait for one client to read them; one answer of any size has room beside it
MAX_OPEN = 64  # requests of one client without an end yet
TELL_SECONDS = 0.1  # between two looks whether a slow client reads again
LINE_SECONDS = 10.0  # for a line that was begun
IDLE_SECONDS = 600.0  # for a client without an open request

Request = dict[str, Any]


class UnknownVerbError(UsageError):
    """A request for something the channel does not do."""

    def __init__(self, verb: object, known: Collection[str]) -> None:
        close = nearest(verb, sorted(known)) if isinstance(verb, str) else None
        super().__init__(
            f"There is no verb {str(verb)[:40]!r}.",
            hint=f"Did you mean {close!r}?" if close else f"The verbs are {', '.join(sorted(known))}.",
        )


class TooManyError(ToolError):
    """More clients, or more open requests of one client, than the channel serves at a time."""


class Host(Protocol):
    """What clients belong to."""

    verbs: frozenset[str]
    """The verbs it lets through."""

    def hello(self) -> dict[str, Any]:
        """What a client is told first."""
        ...

    def admit(self, client: "Client", connected: socket.socket) -> ToolError | None:
        """Let a client in, or say why not."""
        ...

    def forget(self, client: "Client") -> None:
        """A client has gone."""
        ...

    async def answer(self, client: "Client", request: Request) -> None:
        """Answer a request, now or later, through the client."""
        ...

    def on_fault(self, error: BaseException) -> None:
        """Take note of an exception that `answer` let out."""
        ...

    def dropped_fact(self, count: int) -> dict[str, Any]:
        """The fact that stands for facts a client was too slow for."""
        ...

    def facts_in(self, fact: Mapping[str, Any]) -> int:
        """How many facts one stands for: itself, or those that were dropped before."""
        ...


class Client(asyncio.Protocol):
    """One connected client.

    Attributes:
        number: Counts clients from 1; never used again.
        dropped: Facts it was too slow for, by request id, since it was last told.
    """

    def __init__(self, host: Host, number: int) -> None:
        self.number = number
        self.dropped: dict[int | str, int] = {}
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._begun: float | None = None
        """When the line began that has no end yet, in seconds of the loop's clock."""
        self._open: set[int | str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: list[Callable[[], None]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None

    def send(self, message: Mapping[str, Any]) -> bool:
        """Write one line without waiting.

        Returns:
            Whether it goes out: False when the client is gone, or is too slow for this fact.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        fact = "fact" in message
        if fact and message["id"] in self.dropped:
            self._drop(message)
            return False
        line = encode(message)
        waiting = transport.get_write_buffer_size()
        if waiting and waiting + len(line) > BUFFER:
            if "running" in message:
                return False  # the next one will say more
            if fact:
                self._drop(message)
                return False
            if waiting + len(line) > BUFFER + MAX_LINE:  # it asks and never reads
                transport.abort()
                return False
        transport.write(line)
        if message.get("end"):
            self._open.discard(message.get("id", ""))
            self._wind()
        return True

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have something called once when the client has gone; at once if it already has."""
        if self._transport is None:
            callback()
        else:
            self._closing.append(callback)

    def close(self) -> None:
        """Say no more; what was sent is still delivered if the client reads it."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut it off at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet it, if it may come in at all."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a Unix socket's transport is one; tells mypy)
        self._transport = transport
        if (refused := self._host.admit(self, transport.get_extra_info("socket"))) is not None:
            self._refuse(None, refused)
            self.close()
            return
        self.send(self._host.hello())
        self._wind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it, and stop what was done for it alone."""
        del exc  # why it went does not matter
        self._transport = None
        for timer in (self._alarm, self._telling):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._host.forget(self)
        for callback in self._closing:
            callback()
        self._closing.clear()

    def data_received(self, data: bytes) -> None:
        """Take what has come; act on every whole line."""
        seen = len(self._unread)  # no line ends in what was there before
        self._unread += data
        while (end := self._unread.find(b"\n", seen)) >= 0:
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            seen, self._begun = 0, None
            if self._transport is None or self._transport.is_closing():
                return
            if line.strip():
                self._take(line)
        if len(self._unread) > MAX_LINE:
            self._unread.clear()
            self._refuse(None, UnsafeJsonError(f"a line has more than {MAX_LINE} bytes"))
            self.close()
        self._wind()

    def _drop(self, message: Mapping[str, Any]) -> None:
        request = message["id"]
        self.dropped[request] = self.dropped.get(request, 0) + self._host.facts_in(message["fact"])
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        """Say how much it missed, once it reads again."""
        self._telling = None
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > BUFFER // 2:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)
            return
        missed, self.dropped = self.dropped, {}
        for request, count in missed.items():
            self.send({"id": request, "fact": self._host.dropped_fact(count)})

    def _take(self, line: bytes) -> None:
        number: int | str | None = None
        try:
            request = decode(line)
            number = _request_id(request)
            self._allow(number, request.get("verb"))
        except ToolError as error:
            self._refuse(number, error)
            return
        self._open.add(number)
        task = asyncio.get_running_loop().create_task(self._handle(number, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _allow(self, number: int | str, verb: object) -> None:
        if not isinstance(verb, str) or verb not in self._host.verbs:
            raise UnknownVerbError(verb, self._host.verbs)
        if number in self._open:
            raise UsageError(f"Request {number} is still open.", hint="Give every request an id of its own.")
        if len(self._open) >= MAX_OPEN:
            raise TooManyError(f"This client has {MAX_OPEN} open requests.", hint="Wait for some to end.")

    async def _handle(self, number: int | str, request: Request) -> None:
        try:
            await self._host.answer(self, request)
        except ToolError as error:
            self._refuse(number, error)
        except Exception as error:  # noqa: BLE001 (one request must not end the process; the owner is told)
            self._host.on_fault(error)
            self._refuse(number, ToolError(f"The request failed inside microlith: {type(error).__name__}: {error}"))

    def _refuse(self, number: int | str | None, error: ToolError) -> None:
        self.send({"id": number, "end": True, "exit": error.exit, "error": error.as_dict()})

    def _wind(self) -> None:
        """Set the alarm anew: short for half a line, long for silence, none while something is under way."""
        loop = asyncio.get_running_loop()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self._unread:
            self._begun = None
        elif self._begun is None:
            self._begun = loop.time()
        if self._transport is None:
            return
        if self._begun is not None:  # however slowly the rest of the line trickles in
            self._alarm = loop.call_at(self._begun + LINE_SECONDS, self.close)
        elif not self._open:
            self._alarm = loop.call_later(IDLE_SECONDS, self.close)


def _request_id(request: Request) -> int | str:
    number = request.get("id")
    if isinstance(number, bool) or not isinstance(number, int | str) or (isinstance(number, str) and len(number) > 64):
        raise UsageError("A request needs an `id`: an integer, or a text of up to 64 characters.")
    return number
