"""One worker process, from its birth to its end, as the supervisor sees it.

It goes through steps, each asked for and awaited: warm (the runtime is imported), ready (the user's
code is imported and wired), serving (the store is open), stopped (drained and closed).

Decides nothing: when to load, serve, stop or kill is the supervisor's part.
"""

import asyncio
import logging
import os
import signal
import socket
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from microlith_cli.errors import ToolError
from microlith_cli.supervisor.link import PROTOCOL, Link
from microlith_cli.supervisor.showing import Showing

logger = logging.getLogger("microlith")

EXIT_GRACE = 1.0
"""Seconds a stopped worker may take to end by itself."""
_PIPE_GRACE = 0.5
"""Seconds its pipes are read after its end: a child of the user's code may hold them open for ever."""
_LONGEST_LINE = 1 << 16
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""What ends a process whose code may be right; the others, such as SIGSEGV, come from within."""

Line = dict[str, Any]


class WorkerFailedError(ToolError):
    """A worker could not do its next step; `error` says why in the form that travels."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")), hint=str(error.get("hint") or ""))
        self.error = dict(error)

    def as_dict(self) -> dict[str, Any]:
        """Show it as the worker told it."""
        return self.error


class Pipes(SubprocessStreamProtocol):
    """What a worker prints, and its end.

    `Process.wait` of asyncio would also wait until the pipes are closed, which a child of the user's code may prevent.

    Attributes:
        exited: Resolves when the process has ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LONGEST_LINE, loop=loop)
        self.exited: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        """Note the end."""
        super().process_exited()
        if not self.exited.done():
            self.exited.set_result(None)


class WorkerProcess:
    """A worker and its link.

    Args:
        process: The running process.
        pipes: What it prints.
        link: Its link.
        on_line: Gets every line that is no answer to a step: replies and facts.
        showing: Where each line goes that the user's code prints.

    Attributes:
        ended: Resolves when the process is gone and what it printed has been read.
    """

    def __init__(
        self,
        process: asyncio.SubprocessTransport,
        pipes: Pipes,
        link: Link,
        on_line: Callable[[Line], None],
        showing: Showing,
    ) -> None:
        self._process = process
        self._pipes = pipes
        self._link = link
        self._on_line = on_line
        self._showing = showing
        loop = asyncio.get_running_loop()
        self._steps: dict[str, asyncio.Future[Line]] = {
            step: loop.create_future() for step in ("warm", "ready", "serving", "stopped")
        }
        self._told: set[str] = set()
        self.ended: asyncio.Task[None] = loop.create_task(self._live())

    @classmethod
    async def spawn(
        cls,
        python: Path,
        root: Path,
        on_line: Callable[[Line], None],
        showing: Showing,
        number: int = 1,
    ) -> "WorkerProcess":
        """Start a worker with the project's interpreter, in the project's folder.

        `number` says which it is of several processes that share a store.
        Whoever is cancelled meanwhile leaves no process behind.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ExitStack() as given_up, theirs:
            given_up.callback(ours.close)
            link = await Link.over(ours)
            given_up.callback(link.close)
            process, pipes = await loop.subprocess_exec(
                lambda: Pipes(loop),
                python,
                "-P",  # the folder it starts in must not come before the runtime
                "-m",
                "microlith_cli.supervisor.worker_main",
                str(theirs.fileno()),
                str(os.getpid()),
                str(number),
                cwd=root,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C in the terminal is for the supervisor; and its own children end with it
            )
            given_up.pop_all()  # no await from here on: it is theirs who asked
        return cls(process, pipes, link, on_line, showing)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.get_pid()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.get_returncode() is None

    @property
    def killed(self) -> bool:
        """Whether the process was ended by a signal that its own code does not cause, however wrong that is."""
        return self._process.get_returncode() in _FROM_OUTSIDE

    def send(self, line: Line) -> None:
        """Hand a request on."""
        self._link.send(line)

    async def load(self) -> Line:
        """Have it import and wire the user's code; returns what it found.

        Raises:
            WorkerFailedError: The code is broken, or the process ended.
        """
        warm = await asyncio.shield(self._steps["warm"])
        if warm["warm"] != PROTOCOL:
            raise WorkerFailedError(
                {
                    "type": "WrongProtocolError",
                    "message": f"The project's environment has another version of microlith ({self.pid}).",
                    "hint": "Run the `microlith` of that environment, or install the same version there.",
                }
            )
        return await self._step("ready", {"tell": "load"})

    async def serve(self, generation: int) -> Line:
        """Have it open the store and serve; returns what it tells of itself.

        Raises:
            WorkerFailedError: The store does not open, a resource cannot be built, or the process ended.
        """
        return await self._step("serving", {"tell": "serve", "generation": generation})

    async def stop(self, drain: float, *, finish_queues: bool) -> int | None:
        """Have it refuse new messages, finish what is under way, and close the store.

        A worker that does not answer within the budget and a second is killed.

        Args:
            drain: Seconds for the messages under way. Of several calls, the first one's counts.
            finish_queues: Also handle what waits in queues; a durable store carries it on otherwise.

        Returns:
            How many messages were left unfinished; None when it had to be killed or was dead.
        """
        try:
            async with asyncio.timeout(drain + EXIT_GRACE):
                stopped = await self._step("stopped", {"tell": "stop", "drain": drain, "queues": finish_queues})
        except (TimeoutError, WorkerFailedError):
            self.kill()
            return None
        return int(stopped["abandoned"])

    async def end(self, grace: float = EXIT_GRACE) -> None:
        """Wait for the process to end by itself, then see to it."""
        try:
            async with asyncio.timeout(grace):
                await asyncio.shield(self.ended)
        except TimeoutError:
            self.kill()
            await self.ended

    def kill(self) -> None:
        """End it now, and whatever its code has started. Safe to call twice."""
        if self.alive:
            self._kill_group()

    def describe_end(self) -> str:
        """Say how the process ended, for people."""
        code = self._process.get_returncode()
        if code is None:
            return "it still runs"
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"

    async def _step(self, step: str, line: Line) -> Line:
        if step not in self._told:
            self._told.add(step)
            self._link.send(line)
        answer: Line = (await asyncio.shield(self._steps[step]))[step]
        return answer

    async def _live(self) -> None:
        """Read all that comes from it until its end."""
        readers = [
            asyncio.create_task(self._read_link()),
            asyncio.create_task(self._read_output("stdout", self._pipes.stdout)),
            asyncio.create_task(self._read_output("stderr", self._pipes.stderr)),
        ]
        await self._pipes.exited
        self._kill_group()
        _, late = await asyncio.wait(readers, timeout=_PIPE_GRACE)
        self._process.close()  # what was read until now is still shown
        if late:
            _, late = await asyncio.wait(late, timeout=_PIPE_GRACE)
        for reader in late:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        self._link.close()
        self._fail({"type": "WorkerEndedError", "message": f"The worker is gone: {self.describe_end()}."})

    async def _read_link(self) -> None:
        try:
            async for line in self._link.lines():
                self._take(line)
        except Exception:
            # A worker that nobody listens to is of no use; its successor gets what it had not answered.
            logger.exception("What the worker said could not be taken.")
            self._kill_group()

    def _take(self, line: Line) -> None:
        step = next(iter(line))
        if step == "failed":
            self._fail(line["failed"])
        elif step not in self._steps:
            self._on_line(line)
        elif not self._steps[step].done():
            self._steps[step].set_result(line)

    def _fail(self, error: Line) -> None:
        for future in self._steps.values():
            if not future.done():
                future.set_exception(WorkerFailedError(error))
                future.exception()  # nobody may be waiting for this step

    async def _read_output(self, stream: str, pipe: asyncio.StreamReader | None) -> None:
        if pipe is None:
            return
        rest = b""
        try:
            while chunk := await pipe.read(_LONGEST_LINE):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._showing.output(stream, line.removesuffix(b"\r").decode(errors="replace"))
                await self._showing.room()
                if len(rest) > _LONGEST_LINE:
                    self._showing.output(stream, rest.decode(errors="replace"))
                    rest = b""
        finally:
            if rest:
                self._showing.output(stream, rest.decode(errors="replace"))

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left (macOS says so with EPERM)
