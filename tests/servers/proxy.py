"""A proxy on loopback between clients and a server, which breaks connections when a test says so.

It runs on a thread of its own: neither a blocked event loop nor a client with threads gets in its way. Each method may be
called from any thread, and has had its effect when it returns.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tests.servers.faults import Blow, Fault, Way
from tests.servers.ports import LOOPBACK, free_ports

T = TypeVar("T")

_CHUNK = 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds
_PAUSE = 0.001  # seconds between two bytes of a trickle, or the other side would find many at once
_LAST_WORDS = 5.0  # seconds for a client to hang up, too, once it was told the end


@dataclass
class Counts:
    """What has happened so far: connections that were taken, bytes that were passed on, connections by their fault."""

    connections: int = 0
    passed: Counter[Way] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)


@dataclass(eq=False)
class _Link:
    """A connection of a client, and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    passing: asyncio.Event = field(default_factory=asyncio.Event)
    pumps: list[asyncio.Task[None]] = field(default_factory=list)
    stall: asyncio.TimerHandle | None = None
    trickles_until: float = 0.0


class Proxy:
    """`with Proxy(server.port) as proxy:` takes connections at `proxy.port`, and passes on what they send.

    Args:
        target: The port of the server.
        port: The port of the proxy; a free one if none is given.
    """

    def __init__(self, target: int, *, port: int | None = None) -> None:
        self.target = target
        self.port = free_ports(1)[0] if port is None else port
        self.counts = Counts()
        self._links: set[_Link] = set()
        self._sockets: set[socket.socket] = set()
        self._armed: Blow | None = None
        self._remaining = 0
        self._listener: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy before {target}", daemon=True)

    def through(self, url: str) -> str:
        """A url of the server, by way of the proxy."""
        direct = f"{LOOPBACK}:{self.target}"
        if direct not in url:
            raise ValueError(f"{url!r} does not lead to {direct}")
        return url.replace(direct, f"{LOOPBACK}:{self.port}")

    @property
    def connected(self) -> int:
        """How many connections there are that are not broken."""
        return self._call(self._count_links)

    def strike(self, blow: Blow | Fault) -> None:
        """Break all connections there are; or, after some bytes, the one on which the last of them has passed.

        Only one blow waits for its bytes at a time: a later one takes its place.
        """
        self._call(self._strike, blow if isinstance(blow, Blow) else Blow(blow))

    def refuse(self) -> None:
        """Let new connections be refused, as if there were no server."""
        self._call(self._refuse)

    def accept(self) -> None:
        """Take new connections again."""
        self._call(self._accept)

    def __enter__(self) -> Self:
        """Take connections."""
        self._thread.start()
        try:
            self.accept()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections; nothing is left open."""
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._loop).result(30)

    # What follows runs on the proxy's own thread.

    async def _count_links(self) -> int:
        return len(self._links)

    async def _accept(self) -> None:
        if self._listener is None:
            listener = socket.create_server((LOOPBACK, self.port), backlog=100)
            listener.settimeout(0)
            self._listener = asyncio.create_task(self._listen(listener))

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None

    async def _listen(self, listener: socket.socket) -> None:
        with listener:
            comes = asyncio.Event()
            self._loop.add_reader(listener, comes.set)
            try:
                while True:
                    await comes.wait()
                    comes.clear()
                    # Not `sock_accept`: one that is cancelled just then loses the connection it has accepted.
                    with suppress(BlockingIOError):
                        client, _ = listener.accept()
                        client.settimeout(0)
                        self.counts.connections += 1
                        self._sockets.add(client)
                        self._hold(self._connect(client))
            finally:
                self._loop.remove_reader(listener)

    async def _connect(self, client: socket.socket) -> None:
        server = socket.socket()
        server.settimeout(0)
        self._sockets |= {client, server}
        try:
            await self._loop.sock_connect(server, (LOOPBACK, self.target))
        except OSError:
            self._shut(client, server, reset=True)
            return
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is written by itself is sent by itself
        link = _Link(client, server)
        link.passing.set()
        self._links.add(link)
        link.pumps = [
            self._hold(self._pump(link, client, server, "to server")),
            self._hold(self._pump(link, server, client, "to client")),
        ]

    async def _pump(self, link: _Link, source: socket.socket, target: socket.socket, way: Way) -> None:
        try:
            while data := await self._loop.sock_recv(source, _CHUNK):
                await self._pass_on(link, data, target, way)
            await link.passing.wait()
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one side was reset, and the other learns of it in the same way
            self._hold(self._end(link, reset=True))
            return
        if all(pump.done() for pump in link.pumps if pump is not asyncio.current_task()):
            self._hold(self._end(link, reset=False))

    async def _pass_on(self, link: _Link, data: bytes, target: socket.socket, way: Way) -> None:
        while data:
            await link.passing.wait()
            trickles = self._loop.time() < link.trickles_until
            size = 1 if trickles else len(data)
            armed = self._armed if self._armed is not None and self._armed.way == way else None
            if armed is not None:
                size = min(size, self._remaining)
            await self._loop.sock_sendall(target, data[:size])
            self.counts.passed[way] += size
            data = data[size:]
            if armed is not None and armed is self._armed:
                self._remaining -= size
                if self._remaining == 0:
                    self._armed = None
                    self._hold(self._befall(link, armed))
            await asyncio.sleep(_PAUSE if trickles else 0)  # a blow stops it here

    async def _strike(self, blow: Blow) -> None:
        if blow.after > 0:
            self._armed, self._remaining = blow, blow.after
            return
        for link in list(self._links):
            await self._befall(link, blow)

    async def _befall(self, link: _Link, blow: Blow) -> None:
        if link not in self._links:
            return
        self.counts.faults[blow.fault] += 1
        match blow.fault:
            case Fault.STALL:
                link.passing.clear()
                if link.stall is not None:
                    link.stall.cancel()
                link.stall = self._loop.call_later(blow.seconds, link.passing.set)
            case Fault.TRICKLE:
                link.trickles_until = self._loop.time() + blow.seconds
            case Fault.CUT:
                await self._part(link)
                self._hold(self._hang_up(link.client))
                self._hold(self._hang_up(link.server))
            case Fault.RESET:
                await self._end(link, reset=True)
            case Fault.HALF_OPEN:
                await self._part(link)
            case Fault.ORPHAN:
                await self._part(link)
                self._hold(self._hang_up(link.client))

    async def _end(self, link: _Link, *, reset: bool) -> None:
        await self._part(link)
        self._shut(link.client, link.server, reset=reset)

    async def _part(self, link: _Link) -> None:
        """Pass nothing on any more; both sides stay open, and are closed at the latest with the proxy."""
        self._links.discard(link)
        if link.stall is not None:
            link.stall.cancel()
        for pump in link.pumps:
            pump.cancel()
        await asyncio.wait(link.pumps)  # a socket is closed when nobody reads from it any more

    async def _hang_up(self, side: socket.socket) -> None:
        """Tell one side the end, and close once it has hung up, too: closed with data unread, it would see a reset."""
        with suppress(OSError, TimeoutError):
            side.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LAST_WORDS):
                while await self._loop.sock_recv(side, _CHUNK):
                    pass
        self._shut(side, reset=False)

    def _shut(self, *sides: socket.socket, reset: bool) -> None:
        for side in sides:
            if reset and side.fileno() >= 0:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            side.close()
            self._sockets.discard(side)

    def _hold(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close(self) -> None:
        await self._refuse()
        for link in list(self._links):
            await self._part(link)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._shut(*self._sockets, reset=False)
