"""A control channel to test with: a server in the test's loop, and ways to talk to it from threads."""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microlith_cli.control import address
from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.control.connection import Client
from microlith_cli.control.server import ControlServer
from microlith_cli.errors import ToolError

VERBS = {"echo", "count", "flood", "hang", "fail", "refuse"}


class Desk:
    """Answers the verbs of these tests."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.cancelled = asyncio.Event()
        self.clients: list[Client] = []

    async def handle(self, client: Client, request: dict[str, Any]) -> None:
        number = request["id"]
        self.clients.append(client)
        match request["verb"]:
            case "echo":
                client.send({"id": number, "said": request.get("say"), "end": True})
            case "count":
                for at in range(request["to"]):
                    client.send({"id": number, "at": at})
                client.send({"id": number, "end": True})
            case "flood":
                sent = sum(
                    client.send({"id": number, "fact": {"n": at, "x": "x" * 1000}}) for at in range(request["of"])
                )
                missed = {"type": "microlith.dropped", "data": {"count": request.get("missed", 0)}}
                client.send({"id": number, "fact": missed})
                client.send({"id": number, "sent": sent})
            case "hang":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
            case "fail":
                raise RuntimeError("planted")
            case "refuse":
                raise ToolError("no", hint="never")


def made(directory: Path, desk: Desk) -> ControlServer:
    return ControlServer(
        directory,
        hello=lambda: {"app": "shop", "version": "0.1.0", "pid": os.getpid(), "generation": 1},
        verbs=VERBS,
        handle=desk.handle,
        on_fault=desk.faults.append,
    )


def raw(control: ControlServer) -> socket.socket:
    connected = address.connect(control.directory, 5)
    assert connected is not None
    return connected


def read_lines(connected: socket.socket, count: int) -> list[dict[str, Any]]:
    lines = connected.makefile("rb")
    return [json.loads(lines.readline()) for _ in range(count)]


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(work), 20)


def attached(control: ControlServer) -> RemoteSession:
    """A session with the server; it must be there."""
    session = attach(control.directory)
    assert session is not None
    return session


def ask(control: ControlServer, *requests: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Ask over one session, in this thread; gives the replies to each request."""
    with attached(control) as session:
        return [list(session.request(request, patience=5)) for request in requests]


def echoed(control: ControlServer) -> bool:
    """Whether the server still serves."""
    return ask(control, {"verb": "echo", "say": 1}) == [[{"id": 1, "said": 1, "end": True}]]
