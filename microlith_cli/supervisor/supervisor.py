"""The supervisor: keeps one worker serving the newest code that works.

A worker is stopped only when its successor has imported and wired the new code; code that does not
import leaves the old one serving. A worker that dies is started again, with growing pauses, and when
that does not help, at the next save.

Never imports the user's code, nor the runtime's heavy parts. What clients may ask is the desk's.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from microlith_cli.control.address import SOCKET
from microlith_cli.errors import NOT_REACHABLE, WRONG_USAGE
from microlith_cli.project import Project
from microlith_cli.sharing import shares_store
from microlith_cli.supervisor.bytecode import forget_bytecode
from microlith_cli.supervisor.facts import notice, saved_ms_ago, shown_paths
from microlith_cli.supervisor.following import Followers
from microlith_cli.supervisor.forwarding import Forwarding
from microlith_cli.supervisor.process import WorkerFailedError, WorkerProcess
from microlith_cli.supervisor.showing import Showing
from microlith_cli.supervisor.workers import Workers

RELOAD_DRAIN = 5.0
"""Seconds that a worker which is replaced may take for messages under way."""
STOP_DRAIN = 10.0
"""The same at the end of `run`."""
_QUIET = (0.1, 0.2, 0.4)
"""Seconds without a save that are waited for after a save made a start useless; the last for all later ones."""
_NEVER_QUIET = 5.0
"""Seconds after which a stream of saves is waited for no longer."""
_PATIENCE = 5.0
"""Seconds a worker may take to open the store before a newer save may end it."""
_PAUSES = (0.0, 0.1, 0.3, 1.0, 1.0, 2.0, 2.0)
"""Seconds before each new start after a crash. More crashes than that in `_MEMORY` seconds: wait for a save."""
_MEMORY = 60.0

Line = dict[str, Any]

_ENDS = {
    "StoreAwayError": NOT_REACHABLE,
    "TransportUnavailableError": NOT_REACHABLE,
    "UnknownComponentError": WRONG_USAGE,
}
"""What no save mends at the start, and the exit code for it."""


def exit_for(error: Line) -> int | None:
    """Return the exit code for an error at the start that no save mends, such as a broker that is away; None for another."""
    return _ENDS.get(str(error.get("type")))


class Supervisor:
    """Keeps a project's worker.

    Args:
        project: Whose.
        python: The interpreter that runs the worker.
        showing: Where to say what happens.
        mends: Whether files are watched, so that code which does not work may be mended.

    Attributes:
        generation: Counts the workers that served, from 1.
        state: "starting", "serving", "reloading", "broken" or "stopping".
        trouble: Why nothing serves, or why the newest code does not; None when all is well.
        card: What the serving worker told of itself.
        hopeless: Resolves when nothing serves and nothing will; gets the error.
        legend: The keys that can be pressed; empty where there are none.
    """

    def __init__(self, project: Project, python: Path, showing: Showing, *, mends: bool) -> None:
        self._project = project
        self._showing = showing
        self._mends = mends
        self._workers = Workers(python, project, self._take, showing)
        self._serving: WorkerProcess | None = None
        self._saved: set[Path] = set()
        self._saves = asyncio.Event()
        self._askers: list[asyncio.Future[Line]] = []
        self._crashes: deque[float] = deque(maxlen=len(_PAUSES) + 1)
        self._loop = asyncio.get_running_loop()
        self.forwarding = Forwarding()
        self.followers = Followers()
        self.generation = 0
        self._has_served = False
        self.state = "starting"
        self.trouble: Line | None = None
        self.card: Line = {"app": project.name}
        self.legend = ""
        self.hopeless: asyncio.Future[Line] = self._loop.create_future()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker that serves."""
        return None if self._serving is None else self._serving.pid

    @property
    def leads(self) -> bool:
        """Whether the worker that serves leads the store that it shares; one that has a store for itself does."""
        if not self.shared:
            return True
        return self._serving is not None and self._serving.alive and bool(self.card.get("leads"))

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the store; as its settings say, until something serves."""
        return bool(self.card.get("shared", shares_store(self._project.config)))

    def saved(self, files: set[Path]) -> None:
        """Files were saved: bring the new code into service."""
        self._saved |= files
        self._saves.set()

    async def reload(self) -> Line:
        """Bring the code as it is now into service; returns the fact about how that went."""
        asker: asyncio.Future[Line] = self._loop.create_future()
        self._askers.append(asker)
        self._saves.set()
        return await asker

    async def conduct(self) -> None:
        """Keep a worker serving, until cancelled."""
        reason = "start"
        while True:
            await self._renew(reason)
            if self._mends:
                await self._workers.prepare()
            reason = await self._cause()

    async def stop(self) -> int | None:
        """End every worker, the serving one in good order. `conduct` has ended before.

        Returns:
            How many messages were left unfinished; None when that is not known.
        """
        self.state = "stopping"
        self.forwarding.refuse(_stopping(self.card["app"]))
        self._workers.kill(but=self._serving)
        abandoned: int | None = 0
        if self._serving is not None and self._serving.alive:
            abandoned = await self._serving.stop(STOP_DRAIN, finish_queues=True)
        await self._workers.ended()
        return abandoned

    async def kill(self) -> None:
        """End every worker at once."""
        self._workers.kill()
        await self._workers.ended()

    async def _cause(self) -> str:
        """Wait until there is a reason for a new worker: a save, or a crash that a new start may mend."""
        while True:
            serving = self._serving
            if serving is None:
                await self._saves.wait()
                return "save"
            await self._comes_first(serving.ended)
            if serving.alive:
                return "save"
            if await self._recover(serving):
                return "crash"

    async def _renew(self, reason: str) -> None:
        """Have the code as it is now imported, and if that works, served."""
        files: set[Path] = set()
        for quiet in chain(_QUIET, repeat(_QUIET[-1])):
            files |= self._take_saved()
            worker = await self._workers.fresh()
            try:
                if await self._load(worker) and await self._hand_over(worker):
                    self._succeeded(reason, files)
                    return
            except WorkerFailedError as error:
                if worker.killed:  # by somebody, or for want of memory: the code may be right
                    if await self._recover(worker):
                        continue
                else:
                    self._failed(error.error, files)
                return
            finally:
                if worker is not self._serving:
                    worker.kill()
            await worker.ended  # it may hold the store, or be compiling what is out of date
            await self._calm(quiet)

    async def _load(self, worker: WorkerProcess) -> bool:
        """Have a worker import the user's code; False when a save came meanwhile, and it is out of date."""
        self.state = "starting" if self._serving is None else "reloading"
        loading = self._loop.create_task(worker.load())
        try:
            if await self._comes_first(loading):
                loading.result()
                return True
            return False
        finally:
            loading.cancel()

    async def _hand_over(self, worker: WorkerProcess) -> bool:
        """Stop the worker that serves and have the next one serve; False when that took so long that a save ended it."""
        self.forwarding.hold()
        if (
            (old := self._serving) is not None
            and old.alive
            and await old.stop(RELOAD_DRAIN, finish_queues=False) is None
        ):
            self._showing.note(f"Generation {self.generation} did not finish in time; the next one carries on.")
            await old.ended
        self.forwarding.lose()
        self.generation += 1
        self._serving = worker
        try:
            started = await self._start(worker)
        except WorkerFailedError:
            self._serving = None
            raise
        if started is None:
            self._serving = None
            return False
        before, self.card = self.card.get("leads"), started
        self.state, self.trouble = "serving", None
        self.forwarding.connect(worker)
        if before not in {None, started["leads"]}:
            self._tell_lead()
        return True

    async def _start(self, worker: WorkerProcess) -> Line | None:
        """Have a worker open the store and serve; returns its card, or None when that took long and a save came."""
        starting = self._loop.create_task(worker.serve(self.generation))
        try:
            await asyncio.wait([starting], timeout=_PATIENCE)
            if not starting.done():
                self._showing.note("Starting takes long; a save starts it anew.")
                await self._comes_first(starting)
            return starting.result() if starting.done() else None
        finally:
            starting.cancel()

    def _succeeded(self, reason: str, files: set[Path]) -> None:
        self._has_served = True
        if reason == "start":
            listens = {"socket": str(self._project.state / SOCKET), "reloads": self._mends, "keys": self.legend}
            self._showing.card({**self.card, "generation": self.generation, **listens})
        data = {
            "files": shown_paths(self._project.root, files),
            "took_ms": saved_ms_ago(files),
            "generation": self.generation,
        }
        fact = notice(self.card["app"], "reloaded", {**data, "reason": reason})
        if reason != "start":
            self._happened([fact])
        self._answer_askers(fact)

    def _failed(self, error: Line, files: set[Path]) -> None:
        """Say why the code does not serve, and go on with what there is."""
        serves = self._serving is not None and self._serving.alive
        self.trouble = {name: value for name, value in error.items() if name != "traceback" and value}
        self.state = "serving" if serves else "broken"
        data = {"files": shown_paths(self._project.root, files), "error": self.trouble, "served": self._has_served}
        fact = notice(self.card["app"], "failed_reload", data)
        self.followers.show([fact])
        self._answer_askers(fact)
        if serves:
            self._showing.failed(error, f"Generation {self.generation} keeps serving.")
            return
        self._serving = None
        self.forwarding.refuse(self.trouble)
        # What serves already waits for a broker or a database that is away.
        if self._mends and (self._has_served or exit_for(error) is None):
            self._showing.failed(error, "Nothing serves until a save mends it.")
        elif not self.hopeless.done():
            self._showing.failed(error, "")
            self.hopeless.set_result(self.trouble)

    async def _recover(self, worker: WorkerProcess) -> bool:
        """After a crash: hold requests and pause as long as is due; False when it keeps happening."""
        if self._serving is None or not self._serving.alive:
            self.state = "starting"
            self.forwarding.lose()
        now = self._loop.time()
        self._crashes.append(now)
        recent = sum(now - crash < _MEMORY for crash in self._crashes)
        if recent > len(_PAUSES):
            self._crashes.clear()
            again = f"The worker died {recent} times within a minute; the last time {worker.describe_end()}."
            self._failed({"type": "WorkerEndedError", "message": again}, set())
            return False
        self._showing.note(f"The worker died: {worker.describe_end()}. It is started again.")
        pause = self._loop.create_task(asyncio.sleep(_PAUSES[recent - 1]))
        await self._comes_first(pause)
        pause.cancel()
        return True

    def _take(self, line: Line) -> None:
        if "facts" in line:
            self._happened(line["facts"])
        elif "leads" in line:
            self.card = {**self.card, "leads": line["leads"]}
            self._tell_lead()
        else:
            self.forwarding.take(line)

    def _happened(self, facts: Sequence[Line]) -> None:
        self._showing.facts(facts)
        self.followers.show(facts)

    def _tell_lead(self) -> None:
        """Tell that this process leads the store that it shares, or leads it no more."""
        said = {"process": self._project.process, "leads": self.card["leads"]}
        self._happened([notice(self.card["app"], "lead", said)])

    def _take_saved(self) -> set[Path]:
        """What was saved since the last look. Compiled files of it are forgotten."""
        saved, self._saved = self._saved, set()
        self._saves.clear()
        forget_bytecode(saved)
        return saved

    async def _comes_first(self, step: "asyncio.Future[Any]") -> bool:
        """Wait for a step or a save; False when the save came and the step is not done."""
        saves = self._loop.create_task(self._saves.wait())
        try:
            await asyncio.wait([step, saves], return_when=asyncio.FIRST_COMPLETED)
        finally:
            saves.cancel()
        return step.done()

    async def _calm(self, quiet: float) -> None:
        """Wait until files have not been saved for a while."""
        deadline = self._loop.time() + _NEVER_QUIET
        while self._loop.time() < deadline:
            self._saves.clear()
            try:
                async with asyncio.timeout(quiet):
                    await self._saves.wait()
            except TimeoutError:
                return

    def _answer_askers(self, fact: Line) -> None:
        askers, self._askers = self._askers, []
        for asker in askers:
            if not asker.done():
                asker.set_result(fact)


def _stopping(app: str) -> Line:
    return {
        "type": "ClosedError",
        "message": f"The microlith {app!r} is stopping.",
        "hint": "What it had accepted is carried on at its next start.",
    }
