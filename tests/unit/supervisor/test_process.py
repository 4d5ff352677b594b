"""A worker process as the supervisor sees it, whatever comes between."""

import asyncio
import gc
import sys
import warnings
from pathlib import Path

import pytest

from microlith_cli.supervisor.process import WorkerProcess
from microlith_cli.supervisor.showing import Showing


class Unheard(list[str]):
    """What was told to nobody: unclosed things, and errors while they were let go."""

    def note(self, unraisable: "sys.UnraisableHookArgs") -> None:
        self.append(repr(unraisable.exc_value))


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Unheard:
    unheard = Unheard()
    monkeypatch.setattr(sys, "unraisablehook", unheard.note)
    return unheard


class Mute:
    """A screen that shows nothing."""

    def __getattr__(self, name: str):
        return lambda *_arguments: None


async def spawn(root: Path, showing: Showing) -> WorkerProcess:
    return await WorkerProcess.spawn(Path(sys.executable), root, lambda _line: None, showing)


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def test_a_start_that_is_given_up_leaves_no_process_and_nothing_open(tmp_path, unheard):
    async def given_up_after(turns: int) -> bool:
        """Cancel a start when the loop has turned so often; tell whether it had begun to serve by then."""
        showing = Showing(Mute(), lambda _error: None)
        starting = asyncio.create_task(spawn(tmp_path, showing))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        try:
            worker = await starting
        except asyncio.CancelledError:
            return False
        else:
            worker.kill()
            await worker.ended
            return True
        finally:
            await showing.close()

    before = children()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        came_to_serve = [asyncio.run(given_up_after(turns)) for turns in range(20)]
        gc.collect()

    assert children() == before
    assert unheard == []
    assert came_to_serve.count(False) > 3
    assert came_to_serve[-1]
