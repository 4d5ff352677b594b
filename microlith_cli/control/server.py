"""The listening end of the control channel: one for each project, for one user, for so many clients.

What clients ask is handed to one callback, which answers through `client.send` whenever it likes.

Reads no request itself: that is the connection's part.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microlith_cli.control import address
from microlith_cli.control.connection import Client, Request, TooManyError
from microlith_cli.control.lines import PROTOCOL
from microlith_cli.errors import AlreadyRunningError, ToolError
from microlith_cli.project import STATE

LOCK = "control.lock"
MAX_CLIENTS = 64
AT_A_TIME = 16
"""Callers that are let in before those who have gone are noticed, lest the place be full of them; as many may wait."""

Handle = Callable[[Client, Request], Awaitable[None]]


class ControlServer:
    """Listens in one project's private directory. One at a time: it holds a kernel lock there.

    Args:
        directory: The project's `.microlith`; made when it is missing.
        hello: What a client is told first: `app`, `version`, `pid`, `generation`.
        verbs: The verbs it lets through.
        handle: Takes a client and its request; it sends replies with the request's id, the last one with
            `"end": True`, then or later. It is cancelled when the client goes.
        on_fault: Is told of an exception that `handle` let out.
        lock: The lock on the directory, as `take_lock` gave it; None: `start` takes it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        hello: Callable[[], Mapping[str, Any]],
        verbs: Collection[str],
        handle: Handle,
        on_fault: Callable[[BaseException], None],
        lock: int | None = None,
    ) -> None:
        self.directory = directory
        self.verbs = frozenset(verbs)
        self._handle = handle
        self._on_fault = on_fault
        self.clients: set[Client] = set()
        self._told = hello
        self._count = 0
        self._lock = lock
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take the project's lock, then listen.

        Raises:
            AlreadyRunningError: Another process holds the lock; nothing was touched.
            UnsafeDirectoryError: The directory is not this user's alone, or cannot be made.
        """
        if self._lock is None:
            address.make_private(self.directory)
            self._lock = take_lock(self.directory)
        bound = address.bind(self.directory)
        self._server = await asyncio.get_running_loop().create_unix_server(self._welcome, sock=bound, backlog=AT_A_TIME)

    async def stop(self) -> None:
        """Stop listening, say goodbye to everyone, give the lock back. Safe to call twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
            address.remove(self.directory)
        for client in list(self.clients):
            client.close()
        for _ in range(20):  # half a second for the last lines of those who read
            if not self.clients:
                break
            await asyncio.sleep(0.025)
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def hello(self) -> dict[str, Any]:
        """What a client is told first."""
        return {"hello": "microlith", "protocol": PROTOCOL, **self._told()}

    def admit(self, client: Client, connected: socket.socket) -> ToolError | None:
        """Let a client in, or say why not."""
        if (user := address.peer_user(connected)) != os.getuid():
            return ToolError(f"User {user} may not use the microlith of user {os.getuid()}.")
        if len(self.clients) >= MAX_CLIENTS:
            return TooManyError(f"{MAX_CLIENTS} clients are connected already.", hint="Close some of them.")
        self.clients.add(client)
        return None

    def forget(self, client: Client) -> None:
        """A client has gone."""
        self.clients.discard(client)

    async def answer(self, client: Client, request: Request) -> None:
        """Have a request answered."""
        await self._handle(client, request)

    def on_fault(self, error: BaseException) -> None:
        """Tell the owner of an exception that an answer let out."""
        self._on_fault(error)

    def dropped_fact(self, count: int) -> dict[str, Any]:
        """The fact that stands for facts a client was too slow for."""
        return {
            "specversion": "1.0",
            "id": f"dropped-{os.urandom(8).hex()}",
            "source": f"/{self._told().get('app', '')}",
            "type": "microlith.dropped",
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": {"count": count},
        }

    @staticmethod
    def facts_in(fact: Mapping[str, Any]) -> int:
        """How many facts one stands for: itself, or those that were dropped before it came here."""
        return int(fact["data"]["count"]) if fact.get("type") == "microlith.dropped" else 1

    def _welcome(self) -> Client:
        self._count += 1
        return Client(self, self._count)


def take_lock(directory: Path) -> int:
    """Hold the project for as long as the descriptor is open; the kernel frees it when the process dies.

    Raises:
        AlreadyRunningError: Another process holds it; nothing was touched.
    """
    with address.opened(directory) as folder:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        os.fchmod(descriptor, 0o600)  # whatever the umask: the next run opens it again
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 8192, 0).decode(errors="replace").strip()
        os.close(descriptor)
        apart = directory.parent.name == STATE  # the process of some components has a folder below that of the project
        name = f"{directory.name} of {directory.parents[1].name}" if apart else directory.parent.name
        raise AlreadyRunningError(name, owner) from None
    os.ftruncate(descriptor, 0)
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    listens = directory / address.SOCKET
    os.pwrite(descriptor, os.fsencode(f"process {os.getpid()}, listening at {listens}, since {since}\n"), 0)
    return descriptor
