"""A message that ends the process each time it is handled becomes a dead letter, and the rest goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from microlith import HandlerFailedError
from tests.crash.bank import AuditedEvent, Deposit, make_bank

ROOT = Path(__file__).parents[2]
MEET = "import asyncio, sys; from tests.crash.bank import {0}; asyncio.run({0}(sys.argv[1]))"


def run(what: str, directory: Path) -> int:
    """Run one process on the store; return its exit code."""
    command = [sys.executable, "-c", MEET.format(what), str(directory)]
    return subprocess.run(command, cwd=ROOT, timeout=30, check=False).returncode


@pytest.mark.crash
async def test_a_message_that_ends_the_process_is_given_up_after_five_tries(tmp_path: Path):
    first = run("meet_poison", tmp_path)
    restarts = [run("carry_on", tmp_path) for _ in range(5)]

    assert first == 9
    assert restarts == [9, 9, 9, 9, 0]
    async with make_bank(str(tmp_path)) as app:
        (letter,) = await app.store.dead_letters()
        with pytest.raises(HandlerFailedError, match="ended 5 times"):
            await app.event_bus.wait_for(letter.correlation_id, AuditedEvent)
        await app.command_bus.execute(Deposit(number=2), until=AuditedEvent)
