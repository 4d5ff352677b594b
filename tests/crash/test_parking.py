"""Parked dead letters that go on when the process ends under them: none is lost, and none ends it for ever."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.parking import make_shop

ROOT = Path(__file__).parents[2]


def run(directory: Path, mode: str) -> int:
    """Run one process on the store; return its exit code."""
    command = [sys.executable, "-m", "tests.crash.parking", str(directory), mode]
    return subprocess.run(command, cwd=ROOT, timeout=30, check=False).returncode


@pytest.mark.crash
async def test_a_parked_message_that_ends_the_process_is_given_up_after_five_tries(tmp_path: Path):
    ended = [run(tmp_path, mode) for mode in ("fail", *["die"] * 6)]
    async with make_shop(str(tmp_path), "work") as app:
        await app.idle()
        letters = await app.store.dead_letters()
        await app.retry_dead_letter(letters[0].sequence)
        await app.idle()
        left, events = await app.store.dead_letters(), await app.store.read_all()

    assert ended == [0, 9, 9, 9, 9, 9, 0]
    assert [(one.attempts, one.behind) for one in letters] == [(5, None), (0, letters[0].sequence)]
    assert "The process ended 5 times" in letters[0].error
    assert left == []
    assert [event.message.model_dump() for event in events] == [{"number": number} for number in range(3)]
