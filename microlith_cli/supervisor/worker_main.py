"""The worker's process: imports the user's application, serves it, and ends with its supervisor.

Started as `python -m microlith_cli.supervisor.worker_main DESCRIPTOR PARENT NUMBER`; it does each step
(load, serve, stop) when the supervisor says so over the link. The user's code is imported while no
event loop runs, as in any other program.

Takes no decision of its own but one: it never outlives its supervisor.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from microlith.errors import DiscoveryError, MicrolithError, StoreLockedError
from microlith.transports import TopologyDriftError
from microlith_cli.control.lines import encode
from microlith_cli.errors import ToolError
from microlith_cli.import_times import ImportTimes
from microlith_cli.project import Project, describe_failure, find_project, load_app
from microlith_cli.supervisor.link import PROTOCOL, Link
from microlith_cli.supervisor.spans import add_spans

if TYPE_CHECKING:
    from microlith import Microlith
    from microlith.application.connecting import Connections
    from microlith_cli.supervisor.spans import Spans

ORPHAN_DRAIN = 1.0
"""Seconds for messages under way when the supervisor has gone without a word."""
_SPANS_SECONDS = 0.8
"""How long a receiver of spans may take for the last ones: less than the grace after which a worker is killed."""
_LOCKED_SECONDS = 3.0
_LOCKED_PAUSE = 0.05
_PR_SET_PDEATHSIG = 1
_TRACEBACK = 8_000
"""Characters of a traceback that are sent on: its end."""


def main() -> int:
    """Live one worker's life; returns the exit code."""
    descriptor, parent, number = map(int, sys.argv[1:4])
    die_with(parent)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever stops a whole group of processes stops the supervisor too, and that one lets us finish.
        # A handler, not SIG_IGN: programs that the user's code starts must not inherit deafness.
        signal.signal(each, _leave_it_to_the_supervisor)
    with socket.socket(fileno=descriptor) as end:
        # Heavy; done ahead of time, so that a reload pays for the user's modules alone.
        import microlith.event_store.sqlite  # noqa: F401, PLC0415
        import microlith_cli.supervisor.worker  # noqa: F401, PLC0415

        loaded = load(end, number)
        return 1 if loaded is None else asyncio.run(_live(end, loaded))


async def _live(end: socket.socket, loaded: "Loaded") -> int:
    return await _Life(loaded, await Link.over(end)).live()


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies, however that happens.

    Source: prctl(2) PR_SET_PDEATHSIG; elsewhere a thread looks every half second.
    """
    if sys.platform == "linux":
        # Only here is ctypes needed.
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), name="microlith-parent", daemon=True).start()
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def load(end: socket.socket, number: int = 1) -> "Loaded | None":
    """Wait to be told, then import and wire the user's code; says how that went.

    Args:
        end: The link to the supervisor.
        number: Which this is of several processes that share a store.

    Returns:
        None when the application cannot be used or there is nobody to use it for.
    """
    end.sendall(encode({"warm": PROTOCOL}))
    if _read_line(end).get("tell") != "load":
        return None
    # What fails, or goes away, is a fact, and the supervisor shows facts: as a line of a log it would be said twice.
    for told in (logging.getLogger("microlith.handlers"), logging.getLogger("microlith.brokers")):
        told.addHandler(logging.NullHandler())
        told.propagate = False
    root = Path.cwd()
    began = time.monotonic()
    try:
        project = find_project(root).numbered(number)
        imports = ImportTimes(project.root)
        with imports.taken():
            app = load_app(project)
            spans = add_spans(app, project)
            connections = app.connections()
        if connections.topologies():
            asyncio.run(check_brokers(connections))  # before the one that serves is stopped
    except (KeyboardInterrupt, SystemExit, Exception) as error:  # noqa: BLE001 (whatever it is, the user is told)
        end.sendall(encode({"failed": described(error, root)}))
        return None
    took = (time.monotonic() - began) * 1000
    end.sendall(encode({"ready": {"app": app.name, "took_ms": round(took, 1)}}))
    return Loaded(app, project, spans, imports)


async def check_brokers(connections: "Connections") -> None:
    """See that each broker can be reached, and has nothing otherwise than the application needs it.

    Raises:
        TransportError: One cannot, or has.
    """
    differences: dict[str, list[str]] = {}
    for broker, change in await connections.plan():
        if change.action == "differs":
            differences.setdefault(broker, []).append(f"{change.what} {change.name}: {change.detail}")
    for broker, found in differences.items():
        raise TopologyDriftError(broker, found)


def described(error: BaseException, root: Path) -> dict[str, Any]:
    """Show an error of the user's code as it travels: type, message, hint, file, line, source, traceback."""
    cause = error.__cause__ or error
    place = describe_failure(cause, root)
    if isinstance(error, ToolError):
        shown = error.as_dict()
    elif isinstance(error, MicrolithError) and not isinstance(error, DiscoveryError):
        shown = {"type": type(error).__name__, "message": str(error), "hint": error.hint}
    else:  # what the user wrote raised it; while which module was imported says little
        shown = {**place.as_dict(), "type": type(cause).__name__}
    if place.file and not shown.get("file"):
        shown |= {"file": place.file, "line": place.line, "source": place.source}
    return shown | {"traceback": "".join(traceback.format_exception(cause))[-_TRACEBACK:]}


def _read_line(end: socket.socket) -> dict[str, Any]:
    """Read one line and not a byte more; empty when the supervisor is gone."""
    raw = b""
    while not raw.endswith(b"\n"):
        byte = end.recv(1)
        if not byte:
            return {}
        raw += byte
    line = json.loads(raw)
    return line if isinstance(line, dict) else {}


def _leave_it_to_the_supervisor(number: int, frame: FrameType | None) -> None:
    del number, frame


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class Loaded(NamedTuple):
    """An application that was imported and wired.

    Attributes:
        app: The application.
        project: Whose it is.
        spans: The spans that its project is set to export.
        imports: How long its modules took.
    """

    app: "Microlith"
    project: Project
    spans: "Spans | None"
    imports: ImportTimes


class _Life:
    """From "ready" to the end: serves one application over the link."""

    def __init__(self, loaded: Loaded, link: Link) -> None:
        from microlith_cli.supervisor.worker import Worker  # noqa: PLC0415 (heavy; imported by now)

        app, project, self._spans, imports = loaded
        self._root = project.root
        self._link = link
        where = self._spans.where if self._spans else ""
        self._worker = Worker(app, state=project.state, spans=where, imports=imports.told())
        self._requests: dict[str, asyncio.Task[None]] = {}
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._showing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._gave_up = False

    async def live(self) -> int:
        """Do what the supervisor says until it is over; returns the exit code."""
        async for line in self._link.lines():
            self._do(line)
        # The link is closed: by ourselves when all is done, or because the supervisor is gone.
        if self._stopping is None:
            await self._stop(ORPHAN_DRAIN, finish_queues=False)
        elif not self._stopping.done():
            await self._stopping
        starting = self._starting
        served = starting is not None and starting.done() and not starting.cancelled() and starting.exception() is None
        return 0 if served and not self._gave_up else 1

    def _do(self, line: dict[str, Any]) -> None:
        match line:
            case {"tell": "serve", "generation": int(generation)}:
                self._starting = asyncio.create_task(self._serve(generation))
            case {"tell": "stop", "drain": float() | int() as drain, "queues": bool(queues)}:
                self._stopping = self._stopping or asyncio.create_task(self._stop(drain, finish_queues=queues))
            case {"tell": "cancel", "id": str(number)}:
                if (task := self._requests.get(number)) is not None:
                    task.cancel()
            case {"id": str(number), "verb": _}:
                task = asyncio.create_task(self._worker.handle(line, self._link.send))
                self._requests[number] = task
                task.add_done_callback(lambda _: self._requests.pop(number, None))

    async def _serve(self, generation: int) -> None:
        try:
            await self._open(generation)
        except Exception as error:  # noqa: BLE001 (a resource of the user's may raise anything; the user is told)
            self._link.send({"failed": described(error, self._root)})
            self._link.close()
            return
        self._showing = asyncio.create_task(self._show())
        card = self._worker.card()
        self._link.send({"serving": card})
        if card["shared"]:
            self._watching = asyncio.create_task(self._watch(card["leads"]))
        self._worker.write_catalog()

    async def _watch(self, leads: bool) -> None:
        """Tell who leads; end when the store that is shared writes no more here: started again, it may be shared again."""
        await self._worker.watch_lead(leads, self._link.send)
        self._gave_up = True
        self._stopping = self._stopping or asyncio.create_task(self._stop(ORPHAN_DRAIN, finish_queues=False))

    async def _open(self, generation: int) -> None:
        """Start the application; wait a little for whoever owns the store, such as a `dispatch --once`."""
        deadline = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                return await self._worker.start(generation)
            except StoreLockedError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_LOCKED_PAUSE)

    async def _show(self) -> None:
        async for facts in self._worker.facts():
            await self._link.send_facts(facts)

    async def _stop(self, drain: float, *, finish_queues: bool) -> None:
        """Finish what is under way, then tell how many messages were not finished."""
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=drain)
        if self._watching is not None:
            self._watching.cancel()
        abandoned = await self._worker.stop(drain, finish_queues=finish_queues)
        last = [task for task in (*self._requests.values(), self._showing) if task is not None]
        if last:  # they end by themselves now that the application has stopped
            await asyncio.wait(last, timeout=0.5)
        self._link.send({"stopped": {"abandoned": abandoned}})
        await self._link.flush()
        if self._spans is not None:  # nobody waits for this; the next generation serves already
            await asyncio.to_thread(self._spans.telemetry.shutdown, _SPANS_SECONDS)
        self._link.close()


if __name__ == "__main__":
    sys.exit(main())
