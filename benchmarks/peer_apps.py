"""The same small application for each peer: it answers with the version of its code. And how each is started and asked.

Everything runs as a developer would run it: a process of its own, with its own reloader.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from microlith_cli.control.address import connect

PATIENCE = 60.0
"""Seconds for anything at all."""
ASK_SECONDS = 1.0
"""Seconds for one answer; whoever has not answered by then is asked again."""
PAUSE = 0.005

MICROLITH = """
from microlith import Component, Microlith, Query, Response
from version import VERSION

class VersionResponse(Response):
    version: int

class VersionRequest(Query[VersionResponse]):
    pass

peers = Component("peers")

@peers.handles(VersionRequest)
async def version(query: VersionRequest) -> VersionResponse:
    return VersionResponse(version=VERSION)

app = Microlith("peers", [peers])
"""
ASGI = """
import asyncio
from version import VERSION

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    stream = scope["path"] == "/stream"
    kind = b"text/event-stream" if stream else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    while stream:
        await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
        await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": str(VERSION).encode()})
"""
LITESTAR = """
from litestar import Litestar, get
from version import VERSION

@get("/")
async def version() -> int:
    return VERSION

app = Litestar([version])
"""
FASTSTREAM = """
import os
from faststream import FastStream
from faststream.rabbit import RabbitBroker
from version import VERSION

broker = RabbitBroker(os.environ["PEER_URL"])
app = FastStream(broker)

@broker.subscriber(os.environ["PEER_QUEUE"])
async def version(message: str) -> int:
    return VERSION
"""
NEST = """
require('reflect-metadata');
const { Module, Controller, Get } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { VERSION } = require('./version');

class VersionController { version() { return VERSION; } }
Get()(VersionController.prototype, 'version', Object.getOwnPropertyDescriptor(VersionController.prototype, 'version'));
Controller()(VersionController);
class AppModule {}
Module({ controllers: [VersionController] })(AppModule);

NestFactory.create(AppModule, { logger: false }).then((app) => app.listen(Number(process.env.PEER_PORT), '127.0.0.1'));
"""

Ask = Callable[[], int | None]


@dataclass(frozen=True)
class Peer:
    """One framework, as it is run.

    Attributes:
        name: Shown in the tables.
        files: Its application.
        command: Starts it; `{port}` is filled in.
        ask: Gives, for a folder and a port, what asks it for its version; None: no answer.
        reloads: Whether it takes part in reloading.
        follow: Gives, for a folder and a port, the request of a client that stays and where to send it; None: there is none.
        version: How the file of the version is written.
        environ: More for its environment.
    """

    name: str
    files: dict[str, str]
    command: Sequence[str]
    ask: Callable[[Path, int], Ask]
    reloads: bool = False
    follow: Callable[[Path, int], socket.socket] | None = None
    version: tuple[str, str] = ("version.py", "VERSION = {}\n")
    environ: dict[str, str] | None = None


class Served:
    """A peer whose process runs."""

    def __init__(self, peer: Peer, folder: Path, port: int) -> None:
        self._peer = peer
        self._folder = folder
        self._port = port
        self.ask = peer.ask(folder, port)

    def save(self, version: int) -> None:
        """Save new code."""
        name, text = self._peer.version
        (self._folder / name).write_text(text.format(version))

    def serves(self, version: int, seconds: float = PATIENCE) -> float | None:
        """Wait until a version answers; returns the seconds that took, None if it did not in time."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self.ask() == version:
                return time.monotonic() - begun
            time.sleep(PAUSE)
        return None

    @contextmanager
    def client(self) -> Iterator[None]:
        """Have a client attached that stays: a stream over HTTP, or whoever follows."""
        assert self._peer.follow is not None
        with self._peer.follow(self._folder, self._port) as client:
            client.settimeout(PATIENCE)
            assert client.recv(1), "the stream has begun"
            yield


@contextmanager
def served(peer: Peer, folder: Path) -> Iterator[Served]:
    """Run a peer in an empty folder; whoever gets it waits for its first answer."""
    for name, text in peer.files.items():
        (folder / name).write_text(text)
    port = _free_port()
    found = Served(peer, folder, port)
    found.save(1)
    process = subprocess.Popen(
        [word.format(port=port) for word in peer.command],
        cwd=folder,
        env={**os.environ, "PEER_PORT": str(port), "PYTHONPATH": "", **(peer.environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "stderr").open("wb"),
        start_new_session=True,  # reloaders have children
    )
    try:
        yield found
        if process.poll() is not None:
            raise RuntimeError(f"{peer.name} has ended: {(folder / 'stderr').read_text(errors='replace')[-2000:]}")
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def microlith(*, checkout: Path) -> Peer:
    """`microlith run`, which reloads by itself."""
    pyproject = '[project]\nname = "peers"\n[tool.microlith]\napp = "main:app"\n'
    command = [sys.executable, "-m", "microlith_cli", "run"]
    environ = {"PYTHONPATH": str(checkout)}
    files = {"pyproject.toml": pyproject, "main.py": MICROLITH}
    return Peer(
        "microlith run", files, command, _ask_microlith, reloads=True, follow=_follow_microlith, environ=environ
    )


def uvicorn(tools: Path) -> Peer:
    """A bare ASGI application."""
    command = [str(tools / "uvicorn"), "main:app", "--port", "{port}", "--reload"]
    return Peer("uvicorn --reload", {"main.py": ASGI}, command, _ask_http, reloads=True, follow=_follow_http)


def faststream(tools: Path, url: str, queue: str) -> Peer:
    """One subscriber, over RabbitMQ."""
    environ = {"PEER_URL": url, "PEER_QUEUE": queue}
    command = [str(tools / "faststream"), "run", "main:app", "--reload"]

    def ask(folder: Path, port: int) -> Ask:
        del folder, port
        return lambda: asyncio.run(_ask_rabbit(url, queue))

    return Peer("faststream --reload", {"main.py": FASTSTREAM}, command, ask, reloads=True, environ=environ)


def litestar(tools: Path) -> Peer:
    """One route."""
    command = [str(tools / "litestar"), "--app", "main:app", "run", "--port", "{port}"]
    return Peer("litestar run", {"main.py": LITESTAR}, command, _ask_http)


def nest(modules: Path) -> Peer:
    """One controller, in JavaScript that needs no compiler."""
    environ = {"NODE_PATH": str(modules)}
    version = ("version.js", "exports.VERSION = {};\n")
    return Peer(
        "nest (node main.js)", {"main.js": NEST}, ["node", "main.js"], _ask_http, version=version, environ=environ
    )


def _ask_microlith(folder: Path, port: int) -> Ask:
    del port
    request = {"id": 1, "verb": "dispatch", "type": "VersionRequest", "timeout": ASK_SECONDS}

    def ask() -> int | None:
        try:
            client = connect(folder / ".microlith", ASK_SECONDS)
        except OSError:
            return None
        if client is None:
            return None
        with client, suppress(OSError, ValueError):
            client.sendall(json.dumps(request).encode() + b"\n")
            for line in client.makefile("rb"):
                reply = json.loads(line)
                if "matched" in reply:
                    return int(reply["matched"]["data"]["version"])
                if reply.get("end"):
                    return None
        return None

    return ask


def _follow_microlith(folder: Path, port: int) -> socket.socket:
    del port
    client = connect(folder / ".microlith", PATIENCE)
    if client is None:
        raise OSError("nothing runs there")
    client.sendall(b'{"id": 1, "verb": "follow", "filter": ""}\n')
    return client


def _ask_http(folder: Path, port: int) -> Ask:
    del folder

    def ask() -> int | None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=ASK_SECONDS) as answer:
                return int(answer.read())
        except (URLError, OSError, ValueError):
            return None

    return ask


def _follow_http(folder: Path, port: int) -> socket.socket:
    del folder
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def _ask_rabbit(url: str, queue: str) -> int | None:
    import aio_pika  # noqa: PLC0415 (a peer's client)

    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        answers = await channel.declare_queue(exclusive=True)
        message = aio_pika.Message(b"x", reply_to=answers.name, expiration=ASK_SECONDS)
        # Before the first start there is no queue; from then on a message waits there until somebody takes it.
        with suppress(asyncio.TimeoutError, aio_pika.exceptions.DeliveryError):
            await channel.default_exchange.publish(message, queue)
            async with asyncio.timeout(ASK_SECONDS), answers.iterator(no_ack=True) as found:
                async for answer in found:
                    return int(answer.body)
    return None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
