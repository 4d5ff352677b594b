"""One `run`: supervisor, control channel, watcher, signals and screen, put together.

Decides in which order they begin and end, and the exit code; nothing else.
"""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

from microlith_cli.control.server import ControlServer
from microlith_cli.errors import DONE, SAID_NO
from microlith_cli.project import Project
from microlith_cli.supervisor.desk import VERBS, Desk
from microlith_cli.supervisor.facts import notice
from microlith_cli.supervisor.forwarding import NO_ANSWER
from microlith_cli.supervisor.keyboard import LEGEND, Keyboard
from microlith_cli.supervisor.lifecycle import Signals
from microlith_cli.supervisor.showing import Screen, Showing
from microlith_cli.supervisor.supervisor import STOP_DRAIN, Supervisor, exit_for
from microlith_cli.supervisor.watching import Watcher

logger = logging.getLogger("microlith")

_LET_GO_SECONDS = 1.0
"""Seconds for which a process whose keeper is gone may go on: it is not to outlive it for long."""
_SAY_SO_AFTER = 0.3
"""Seconds an orderly end may take before it is mentioned."""


class Run:
    """Supervises one project until a signal, or a client, ends it. Made on a running loop; runs once.

    Args:
        project: Whose.
        lock: The lock on its folder, as `claim` gave it; it is given back at the end.
        python: The interpreter for the worker.
        screen: Where to show what happens.
        reload: Whether a save brings the new code into service.
        ends_unread: Whether to end when nobody reads what the screen shows any more.
        keyed: Whether a person at the terminal may press keys.
        once: Whether to end when nothing is left to do.
        kept: Whether to end when stdin does: whoever keeps this process is gone then.

    Attributes:
        stuck: Whether the screen stood still at the end; then the interpreter cannot end in good order.
    """

    def __init__(
        self,
        project: Project,
        lock: int,
        python: Path,
        screen: Screen,
        *,
        reload: bool,
        ends_unread: bool,
        keyed: bool,
        once: bool = False,
        kept: bool = False,
    ) -> None:
        self._project = project
        self._lock = lock
        self._reload = reload
        self._ends_unread = ends_unread
        self._keyed = keyed
        self._once = once
        self._kept = kept
        self._showing = Showing(screen, self._unread)
        self._supervisor = Supervisor(project, python, self._showing, mends=reload)
        self._desk = Desk(project, self._supervisor, self._ask_to_stop)
        loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[None] = loop.create_future()
        self._insisted: asyncio.Future[int] = loop.create_future()
        self.stuck = False

    async def run(self) -> int:
        """Run to the end; returns the exit code.

        Raises:
            UnsafeDirectoryError: The project's own folder is not this user's alone.
        """
        server = ControlServer(
            self._project.state,
            hello=self._desk.hello,
            verbs=VERBS,
            handle=self._desk.handle,
            on_fault=_report,
            lock=self._lock,
        )
        try:
            with Signals(self._ask_to_stop, self._insist):
                if self._kept:
                    asyncio.get_running_loop().add_reader(sys.stdin, self._let_go)
                await server.start()
                if not self._keyed:
                    return await self._serve()
                keyboard = Keyboard(self._supervisor, self._showing, self._ask_to_stop)
                with keyboard.keys:
                    self._supervisor.legend = LEGEND if keyboard.keys.at_hand else ""
                    try:
                        return await self._serve()
                    finally:
                        keyboard.close()
        finally:
            await self._supervisor.kill()
            await server.stop()
            self.stuck = not await self._showing.close()

    async def _serve(self) -> int:
        conducting = asyncio.create_task(self._supervisor.conduct(), name="microlith conduct")
        watching = asyncio.create_task(self._watch(), name="microlith watch")
        idling = [asyncio.create_task(self._idle(), name="microlith idle")] if self._once else []
        try:
            over: list[asyncio.Future[Any]] = [conducting, *idling, self._asked, self._supervisor.hopeless]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (conducting, watching, *idling):
                task.cancel()
            ended = await asyncio.gather(conducting, watching, *idling, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        if self._supervisor.hopeless.done():
            return exit_for(self._supervisor.hopeless.result()) or SAID_NO
        code = await self._stop()
        answer = ended[-1] if idling else None
        return (self._finished(answer) or code) if isinstance(answer, dict) else code

    async def _idle(self) -> dict[str, Any]:
        """Wait until nothing is left to do; returns the answer that says so, or why that cannot be known."""
        began = time.time()
        while True:
            answer = await self._supervisor.forwarding.answer({"verb": "idle", "since": began})
            if answer.get("error", {}).get("type") != NO_ANSWER:  # then restarts took longer than a request may wait
                return answer

    def _finished(self, answer: dict[str, Any]) -> int:
        """Say, behind all that happened, what came of a run that ends by itself; returns the exit code."""
        if "idle" not in answer:
            self._showing.failed(answer["error"], "")
        else:
            self._showing.facts([notice(self._supervisor.card["app"], "idle", answer["idle"])])
            if answer["idle"]["failed"]:
                self._showing.note("`microlith dead-letters list` shows what failed, and retries it.")
        return int(answer["exit"])

    async def _watch(self) -> None:
        if not self._reload:
            return
        try:
            await Watcher(self._project.root, self._supervisor.saved).run()
        except* OSError as errors:
            reason = errors.exceptions[0]
            self._showing.note(f"Files are not watched: {reason}. A save does nothing; start `run` anew instead.")

    async def _stop(self) -> int:
        """End in good order, or at once when somebody insists."""
        stopping = asyncio.create_task(self._supervisor.stop(), name="microlith stop")
        either: list[asyncio.Future[Any]] = [stopping, self._insisted]
        await asyncio.wait(either, timeout=_SAY_SO_AFTER, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done() and not self._insisted.done():
            self._showing.note(
                f"Stopping: what is under way may take up to {STOP_DRAIN:g} s. Once more stops it at once."
            )
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await self._supervisor.kill()
            stopping.cancel()
            return 128 + self._insisted.result()
        abandoned = stopping.result()
        if abandoned == 0:
            self._showing.note("Stopped.")
            return DONE
        count = (
            "An unknown number of messages was"
            if abandoned is None
            else f"Messages not finished: {abandoned}; they were"
        )
        self._showing.note(f"{count} left behind. With a durable store they are carried on at the next start.")
        return SAID_NO

    def _ask_to_stop(self, number: signal.Signals | None = None) -> None:
        if not self._asked.done():
            if number is signal.SIGINT and sys.stderr is not None and sys.stderr.isatty():
                self._showing.note("")  # the terminal has written ^C where the next word would stand
            self._asked.set_result(None)

    def _let_go(self) -> None:
        """Whoever kept this process is gone: end in good order if that is soon done."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(sys.stdin)
        self._ask_to_stop()
        loop.call_later(_LET_GO_SECONDS, self._insist, signal.SIGHUP)

    def _insist(self, number: signal.Signals) -> None:
        if not self._insisted.done():
            self._insisted.set_result(int(number))

    def _unread(self, error: Exception) -> None:
        # BrokenPipeError and its like are no mistake: whoever read has gone.
        if not isinstance(error, OSError):
            logger.error("Showing what happens failed; the microlith goes on.", exc_info=error)
        elif self._ends_unread:
            self._ask_to_stop()


def _report(error: BaseException) -> None:
    logger.error("A request failed inside microlith.", exc_info=error)
