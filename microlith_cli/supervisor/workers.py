"""Every worker process that lives: the one that serves, the next one, those that end, and a spare.

The spare has imported the runtime and nothing of the user's, so that a reload waits for the user's
modules only. None of them is ever forgotten before it is gone.

Does not know which one serves.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microlith_cli.project import Project
from microlith_cli.supervisor.process import WorkerProcess
from microlith_cli.supervisor.showing import Showing


class Workers:
    """Starts workers and sees them end.

    Args:
        python: The interpreter that runs them.
        project: Whose; they start in its folder.
        on_line: Gets every line that is no answer to a step: replies and facts.
        showing: Where each line goes that the user's code prints.
    """

    def __init__(
        self, python: Path, project: Project, on_line: Callable[[dict[str, Any]], None], showing: Showing
    ) -> None:
        self._python = python
        self._project = project
        self._on_line = on_line
        self._showing = showing
        self._living: set[WorkerProcess] = set()
        self._spare: WorkerProcess | None = None

    async def fresh(self) -> WorkerProcess:
        """A worker that has imported nothing of the user's yet: the spare one if there is one."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.alive else await self._spawn()

    async def prepare(self) -> None:
        """Have a spare one ready for the next reload."""
        if self._spare is None or not self._spare.alive:
            self._spare = await self._spawn()

    def kill(self, *, but: WorkerProcess | None = None) -> None:
        """Kill all of them, or all but one."""
        for worker in self._living:
            if worker is not but:
                worker.kill()

    async def ended(self) -> None:
        """Wait until none is left. Whoever takes longer than a moment is killed."""
        await asyncio.gather(*(worker.end() for worker in list(self._living)))

    async def _spawn(self) -> WorkerProcess:
        worker = await WorkerProcess.spawn(
            self._python, self._project.root, self._on_line, self._showing, self._project.number
        )
        self._living.add(worker)
        worker.ended.add_done_callback(lambda _: self._living.discard(worker))
        return worker
