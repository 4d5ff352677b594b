"""A retry of a dead letter that ends with its process has happened as a whole, or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.mending import MendedEvent, make_shop

ROOT = Path(__file__).parents[2]


def run(directory: Path, mode: str) -> int:
    """Run one process on the store; return its exit code."""
    command = [sys.executable, "-m", "tests.crash.mending", str(directory), mode]
    return subprocess.run(command, cwd=ROOT, timeout=30, check=False).returncode


@pytest.mark.crash
async def test_a_retry_happens_once_or_not_at_all(tmp_path: Path):
    made = run(tmp_path, "fail")
    died = run(tmp_path, "die")
    async with make_shop(str(tmp_path), "work") as app:
        await app.idle()
        letters = await app.store.dead_letters()
        before = await app.store.read_all()
    worked = run(tmp_path, "work")
    async with make_shop(str(tmp_path), "work") as app:
        await app.idle()
        left = await app.store.dead_letters()
        after = await app.store.read_all()
        await app.event_bus.wait_for(letters[0].correlation_id, MendedEvent)

    assert (made, died, worked) == (0, 9, 7)
    assert [(one.type, one.attempts) for one in letters] == [("Mend", 1)]
    assert before == []
    assert left == []
    assert [(one.type, one.causation_id) for one in after] == [("MendedEvent", letters[0].message_id)]
