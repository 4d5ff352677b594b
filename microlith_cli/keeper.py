"""`run --all`: one process for each component, as `run --component` runs it, and one tracer over all.

Each of them watches files, reloads and answers clients for itself. The keeper starts them, passes on what they print, shows what they tell
over their control channels, and ends them; should it be killed, they see its end of their stdin go, and end by themselves.

Imports neither the user's code nor the runtime's heavy parts.
"""

import asyncio
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from microlith_cli.errors import DONE, SAID_NO, ToolError
from microlith_cli.project import Project
from microlith_cli.session import connect_parts, only_reply
from microlith_cli.several import Several
from microlith_cli.strict_json import parse
from microlith_cli.supervisor.lifecycle import Signals
from microlith_cli.supervisor.showing import Screen, Showing

logger = logging.getLogger("microlith")

LONGEST_STOP = 20.0
"""Seconds after which a process that does not end in good order is killed; by itself it takes less."""
_LOOKS_AGAIN = 0.1
_PAUSE = 1.0
"""Seconds before a process that was killed is started again."""
_OFTEN = 5
_MEMORY = 60.0
"""A process that was killed more than `_OFTEN` times in so many seconds is not started again, and the others are ended."""
_LONGEST_LINE = 1 << 20


class SurveyError(ToolError):
    """It could not be found out which components there are."""


def find_components(project: Project, python: Path) -> list[str]:
    """Find the components of a project; its code is imported in a process of its own.

    Raises:
        SurveyError: It does not import.
    """
    command = [str(python), "-m", "microlith_cli", "list", "--components", "--json"]
    asked = subprocess.run(command, cwd=project.root, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    rows = [parse(line) for line in asked.stdout.splitlines() if line.startswith(b"{")]
    names = [str(row["name"]) for row in rows if isinstance(row, dict) and row.get("item") == "component"]
    if asked.returncode == DONE and names:
        return names
    error: dict[str, Any] = next((row["error"] for row in rows if isinstance(row, dict) and "error" in row), {})
    said = error.get("message") or asked.stderr.decode(errors="replace").strip() or "it has none"
    raise SurveyError(f"The components of {project.name} cannot be found: {said}", hint=str(error.get("hint") or ""))


class Child:
    """One process that is kept.

    Attributes:
        name: Its component.
    """

    def __init__(self, name: str, command: Sequence[str], showing: Showing, width: int) -> None:
        self.name = name
        self._command = command
        self._showing = showing
        self._lead = f"{name:{width}} | "
        self._process: asyncio.subprocess.Process | None = None
        self._deaths: deque[float] = deque(maxlen=_OFTEN + 1)
        self._stopping = False

    async def keep(self) -> int:
        """Run it until it ends by itself, and again when it was killed; returns its exit code."""
        while not self._stopping:
            code = await self._run()
            if code >= 0 or self._stopping:
                return max(code, DONE)
            now = time.monotonic()
            self._deaths.append(now)
            if sum(now - death < _MEMORY for death in self._deaths) > _OFTEN:
                self._showing.note(
                    f"The process of {self.name} was killed again and again; it is not started any more."
                )
                return SAID_NO
            self._showing.note(f"The process of {self.name} was ended by signal {-code}. It is started again.")
            await asyncio.sleep(_PAUSE)
        return DONE

    def stop(self) -> None:
        """Ask it to end in good order; a second time, at once. It is not started again."""
        self._stopping = True
        self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _run(self) -> int:
        # Ctrl-C is for the keeper, which ends it in good order; its stdin says when there is no keeper any more.
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        passing = [
            asyncio.create_task(self._pass_on(stream, name), name=f"microlith {self.name} {name}")
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        try:
            code = await process.wait()
            await asyncio.wait(passing, timeout=1.0)  # what it had started may hold them open
            return code
        finally:
            self._send(signal.SIGKILL)
            for task in passing:
                task.cancel()

    async def _pass_on(self, stream: asyncio.StreamReader | None, name: str) -> None:
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:
                line = b"(a line that is too long to show)\n"
            if not line:
                return
            self._showing.output(name, self._lead + line.decode(errors="replace").rstrip("\n"))
            await self._showing.room()


class Keeper:
    """Keeps a process for each component until a signal ends them. Made on a running loop; runs once.

    Args:
        project: Whose.
        components: Their names.
        screen: Where to show what happens.
        reload: Whether a save brings new code into service.
        ends_unread: Whether to end when nobody reads what the screen shows any more.

    Attributes:
        stuck: Whether the screen stood still at the end; then the interpreter cannot end in good order.
    """

    def __init__(
        self, project: Project, components: Sequence[str], screen: Screen, *, reload: bool, ends_unread: bool
    ) -> None:
        self._project = project
        self._reload = reload
        self._buses: dict[str, str] = {}
        self._ends_unread = ends_unread
        self._showing = Showing(screen, self._unread)
        width = max(map(len, components))
        self._children = [Child(name, self._command(name), self._showing, width) for name in components]
        loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[None] = loop.create_future()
        self._insisted: asyncio.Future[int] = loop.create_future()
        self._over = threading.Event()
        self._session: Several | None = None
        self._following = threading.Thread(target=self._follow, name="microlith-keeper", daemon=True)
        self.stuck = False

    async def run(self) -> int:
        """Run to the end; returns the exit code."""
        self._following.start()
        try:
            with Signals(self._ask_to_stop, self._insist):
                return await self._keep()
        finally:
            self._over.set()
            if (session := self._session) is not None:
                session.close()
            await asyncio.to_thread(self._following.join, 2.0)
            self.stuck = not await self._showing.close()

    async def _keep(self) -> int:
        keeping = {asyncio.create_task(child.keep(), name=f"microlith {child.name}"): child for child in self._children}
        announcing = asyncio.create_task(self._announce(), name="microlith announce")
        running: set[asyncio.Future[Any]] = set(keeping)
        code = DONE
        try:
            while running and not self._asked.done():
                await asyncio.wait({*running, self._asked}, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    code = code or task.result()
                    if task.result() != DONE:  # it has said why; the application is not whole without it
                        self._ask_to_stop()
            return await self._stop(running, code)
        finally:
            announcing.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(announcing, *keeping, return_exceptions=True)

    async def _stop(self, running: set[asyncio.Future[Any]], code: int) -> int:
        """End all in good order, or at once when somebody insists."""
        self._stop_children()
        everything = asyncio.gather(*running)
        either: list[asyncio.Future[Any]] = [everything, self._insisted]
        await asyncio.wait(either, timeout=LONGEST_STOP, return_when=asyncio.FIRST_COMPLETED)
        if self._insisted.done() and not everything.done():
            self._stop_children()
            await asyncio.wait({everything}, timeout=2.0)
        if everything.done():
            ended = [*everything.result(), code]
        else:
            everything.cancel()
            ended = [SAID_NO]
        if self._insisted.done():
            return 128 + self._insisted.result()
        return next((each for each in ended if each), DONE)

    async def _announce(self) -> None:
        """Show the card once all of them serve."""
        waiting = {child.name for child in self._children}
        while waiting:
            served = await asyncio.to_thread(self._serving)
            waiting -= served
            await asyncio.sleep(_LOOKS_AGAIN)
        names = [child.name for child in self._children]
        card = {"app": self._project.name, "processes": names, "buses": self._buses, "reloads": self._reload}
        self._showing.card(card)

    def _serving(self) -> set[str]:
        found = set()
        try:
            for name, session in self._connect().items():
                with session:
                    status = only_reply(session, {"verb": "status"})["status"]
                    if status["state"] == "serving":
                        found.add(name)
                        self._buses = status.get("buses", {})  # the same for all of them
        except (ToolError, OSError):
            pass  # one that begins or ends; it is asked again
        return found

    def _follow(self) -> None:
        """Show what all tell, on a thread of its own; whatever comes or goes meanwhile."""
        while not self._over.is_set():
            try:
                if parts := self._connect():
                    with Several(parts, self._connect) as self._session:
                        for reply in self._session.request({"verb": "follow", "filter": ""}):
                            if "fact" in reply:
                                self._showing.facts([reply["fact"]])
            except (ToolError, OSError):
                pass  # one that begins, or the last has ended
            self._over.wait(_LOOKS_AGAIN)

    def _connect(self, but: Any = ()) -> dict[str, Any]:
        return connect_parts(self._project, but)

    def _command(self, name: str) -> list[str]:
        tool = [sys.executable, "-m", "microlith_cli", "-C", str(self._project.root)]
        return [*tool, "run", "--component", name, "--kept", *(() if self._reload else ("--no-reload",))]

    def _stop_children(self) -> None:
        for child in self._children:
            child.stop()

    def _ask_to_stop(self, number: signal.Signals | None = None) -> None:
        if not self._asked.done():
            if number is signal.SIGINT and sys.stderr is not None and sys.stderr.isatty():
                self._showing.note("")  # the terminal has written ^C where the next word would stand
            self._asked.set_result(None)

    def _insist(self, number: signal.Signals) -> None:
        if not self._insisted.done():
            self._insisted.set_result(int(number))

    def _unread(self, error: Exception) -> None:
        if not isinstance(error, OSError):
            logger.error("Showing what happens failed; the processes go on.", exc_info=error)
        elif self._ends_unread:
            self._ask_to_stop()
