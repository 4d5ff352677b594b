"""An application killed at random moments under load loses nothing it acknowledged, and invents nothing.

The books are kept here, outside the process that is killed: one line for each attempt and each acknowledgement.
`MICROLITH_KILLS` sets the number of kills, `MICROLITH_SEED` repeats a run.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from microlith.event_store.protocol import RecordedEvent
from tests.crash.bank import DepositedEvent, Seen, make_bank
from tests.eventually import eventually

KILLS = int(os.environ.get("MICROLITH_KILLS", "200"))
ROOT = Path(__file__).parents[2]
MESSAGES_A_TRIAL = 100_000


class Books:
    """What was tried and what was acknowledged, read from a pipe by a thread."""

    def __init__(self) -> None:
        self.tried: set[int] = set()
        self.acknowledged: set[int] = set()
        self.whole: set[int] = set()
        self.pids: list[int] = []
        self.opened = threading.Event()
        self.gone = threading.Event()

    def read(self, process: subprocess.Popen[bytes]) -> None:
        """Write down every line until the pipe ends."""
        for line in process.stdout or ():
            word, _, number = line.decode().partition(" ")
            value = int(number)
            if word == "try":
                self.tried.add(value)
            elif word == "ack":
                self.acknowledged.add(value)
            elif word == "whole":
                self.whole.add(value)
            elif word == "pid":
                self.pids.append(value)
            elif word == "open":
                self.opened.set()
            elif word == "gone":
                self.gone.set()


@contextmanager
def bank_server(directory: Path, module: str = "tests.crash.bank") -> Iterator[tuple[subprocess.Popen[bytes], Books]]:
    """Start the process that forks applications, and the books about them."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    books = Books()
    reader = threading.Thread(target=books.read, args=(process,))
    reader.start()
    try:
        yield process, books
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(timeout=20)
        reader.join(timeout=20)
        if process.stdout:
            process.stdout.close()


def kill_repeatedly(directory: Path, kills: int, mode: str, seed: int, *, module: str = "tests.crash.bank") -> Books:
    """Run the application under load and kill it at a random moment, again and again, on one store."""
    chance = random.Random(seed)
    with bank_server(directory, module) as (process, books):
        for trial in range(kills):
            books.opened.clear()
            books.gone.clear()
            if process.stdin is None:
                raise AssertionError("The server has no standard input.")
            process.stdin.write(f"{trial * MESSAGES_A_TRIAL} {mode}\n".encode())
            process.stdin.flush()
            assert books.opened.wait(timeout=20), f"start {trial} did not recover"
            time.sleep(chance.uniform(0.01, 0.5) if trial % 4 == 0 else chance.uniform(0.005, 0.1))
            os.kill(books.pids[-1], signal.SIGKILL)
            assert books.gone.wait(timeout=20)
    return books


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_nothing_acknowledged_is_lost_in_200_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
):
    seed = int(os.environ.get("MICROLITH_SEED", random.SystemRandom().randrange(2**32)))
    record_property("seed", seed)

    books = kill_repeatedly(tmp_path, KILLS, "late", seed)

    assert len(books.acknowledged) > KILLS
    assert await lost_and_invented(tmp_path, books) == (set(), set()), f"MICROLITH_SEED={seed}"


@pytest.mark.crash
@pytest.mark.timeout(200)
async def test_the_same_checks_catch_an_acknowledgement_before_the_commit(tmp_path: Path):
    books = kill_repeatedly(tmp_path, 15, "early", seed=1)

    lost, _ = await lost_and_invented(tmp_path, books)

    assert lost


async def lost_and_invented(directory: Path, books: Books) -> tuple[set[int], set[int]]:
    """Let a last process carry on what is left, check the whole log, and compare it with the books."""
    async with make_bank(str(directory)) as app:
        await eventually_settled(app)
        events: list[RecordedEvent] = []
        while page := await app.store.read_all(after=events[-1].position if events else -1, limit=5000):
            events.extend(page)
        await app.store.verify()
        rows = {row.number: row for row in await everything(app)}
    assert [event.position for event in events] == list(range(len(events)))
    assert [event.stream_position for event in events] == list(range(len(events)))
    kinds = Counter((event.type, event.message.number) for event in events)  # type: ignore[attr-defined]
    assert set(kinds.values()) <= {1}, "an effect in the store happened twice"
    deposits = {number for kind, number in kinds if kind == DepositedEvent.__name__}
    assert deposits == {number for kind, number in kinds if kind != DepositedEvent.__name__}, "an audit is missing"
    assert rows == {number: Seen(number=number, deposits=1, audits=1) for number in deposits}
    return books.acknowledged - deposits, deposits - books.tried


async def eventually_settled(app) -> None:
    """Wait until every lane is idle and every command is settled."""
    lanes = list(app.delivery.routes.lanes())
    await eventually(lambda: not any(lane.queue or lane.busy or lane.behind for lane in lanes), seconds=60)
    await app.store.flush()
    assert not await app.store.pending_commands()


async def everything(app) -> list[Seen]:
    """Read every row of the read model."""
    projection = app.wire().projections[0]
    data = app.store.rows.find(projection.spec_of(Seen), {}, 10_000_000)
    return [Seen.model_validate_json(row) for row in data]
