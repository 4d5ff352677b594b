"""A viewer that never reads, through `microlith run`: commands as fast as the worker can, and somebody attached who stalls.

Throughput falls by at most a tenth beside the same run without a viewer, and neither the worker's memory nor the
supervisor's grows. The load is made in the worker, by a handler. The same application in a process of its own, which
nobody follows, tells what `run` itself costs.

That the measure would notice is shown with a planted fault: a tracer that makes a fact of everything, as if somebody
read, and keeps it. Its run must miss the budget.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import NamedTuple

from benchmarks.resident import resident
from microlith_cli.control.address import connect

OFFERED = 50_000
"""Messages a second that the worker must be able to take; a slower machine takes what it can."""
LEAST = 0.9
MOST_GROWN = 16.0
"""MiB that memory may differ by, all in all: what a full buffer holds, and some. A fact kept for each message would be hundreds."""
PLANT = "MICROLITH_BENCH_PLANT"

APP = """
import asyncio
import os
import time
from microlith import Command, CommandBus, Component, Event, Microlith
from microlith.tracing import tracer

class Count(Command):
    n: int

class Flood(Command):
    items: int

class FloodedEvent(Event):
    each: float
    rate: float
    grown: float

shop = Component("shop")
left = 0

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024

@shop.handles(Count)
async def count(command: Count) -> None:
    global left
    left -= 1

@shop.handles(Flood, timeout=120)
async def flood(command: Flood, commands: CommandBus) -> FloodedEvent:
    global left
    left, begun, cpu, half = command.items, time.monotonic(), time.process_time(), 0.0
    for number in range(command.items):
        await commands.dispatch(Count(n=number))
        if not number % 256:
            await asyncio.sleep(0)
        if number == command.items // 2:
            half = resident()
    while left > 0:
        await asyncio.sleep(0.001)
    return FloodedEvent(
        each=(time.process_time() - cpu) / command.items,
        rate=command.items / (time.monotonic() - begun),
        grown=resident() - half,
    )

app = Microlith("shop", [shop], store="memory:", max_depth=10)

if os.environ.get("MICROLITH_BENCH_PLANT"):
    # As if there were no bounds: a fact of everything, whoever reads.
    tracer._SHARE = tracer._SHARE_OF_REST = 1.0
    tracer._AHEAD = 10**9
    tracer.Tracer.__init__.__kwdefaults__["limit"] = 10**9
"""
BY_ITSELF = """
import asyncio
import json
import sys
from shop import Flood, FloodedEvent, app

async def main():
    async with app:
        for _ in range(int(sys.argv[2])):
            done = await app.command_bus.execute(Flood(items=int(sys.argv[1])), until=FloodedEvent, timeout=100)
            print(json.dumps([done.each, done.rate, done.grown]))

asyncio.run(main())
"""


class Flood(NamedTuple):
    """One run under load.

    Attributes:
        each: Processor seconds of the worker for one message.
        rate: Messages a second, by the clock on the wall.
        grown: MiB that the worker's memory grew by in the second half.
    """

    each: float
    rate: float
    grown: float


class Run(NamedTuple):
    """`microlith run` of the project: its folder, and the supervisor's process."""

    root: Path
    supervisor: int


@contextmanager
def running(*, planted: bool = False) -> Iterator[Run]:
    """Run a project with `microlith run` for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pyproject.toml").write_text('[project]\nname = "shop"\n[tool.microlith]\napp = "shop:app"\n')
        (root / "shop.py").write_text(APP)
        command = [sys.executable, "-m", "microlith_cli", "-C", folder, "run", "--no-reload", "--json"]
        path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, PLANT: "1" if planted else ""},
        )
        try:
            deadline = monotonic() + 60
            while not _answers(root):
                if monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("`microlith run` did not come to serve")
                sleep(0.1)
            yield Run(root, process.pid)
        finally:
            process.terminate()
            process.wait(60)


def flooded(root: Path, items: int) -> Flood:
    """Have the worker send itself commands."""
    with _connected(root) as client:
        ask = {
            "id": 1,
            "verb": "dispatch",
            "type": "Flood",
            "data": {"items": items},
            "wait": ["FloodedEvent"],
            "timeout": 100,
        }
        client.sendall(json.dumps(ask).encode() + b"\n")
        for line in client.makefile("rb"):
            reply = json.loads(line)
            if "matched" in reply:
                data = reply["matched"]["data"]
                return Flood(data["each"], data["rate"], data["grown"])
            if reply.get("end"):
                raise RuntimeError(f"no answer: {reply}")
    raise RuntimeError("the connection ended")


@contextmanager
def stalled_client(root: Path) -> Iterator[socket.socket]:
    """Follow over the control socket and read nothing."""
    with _connected(root) as client:
        client.sendall(b'{"id": 1, "verb": "follow", "filter": ""}\n')
        sleep(0.2)
        yield client


class Compared(NamedTuple):
    """What a viewer that never reads did to a run, round by round.

    Attributes:
        alone: Without it.
        viewed: With it.
        grown: MiB that the supervisor's memory grew by in all rounds but the first.
    """

    alone: list[Flood]
    viewed: list[Flood]
    grown: float

    @property
    def speeds(self) -> list[float]:
        """How fast each round was with the viewer, beside without."""
        return [alone.each / viewed.each for alone, viewed in zip(self.alone, self.viewed, strict=True)]

    @property
    def worker_grown(self) -> float:
        """MiB that the worker's memory grew by at most."""
        return max(flood.grown for flood in self.viewed[1:] or self.viewed)

    @property
    def kept(self) -> bool:
        """Whether it cost at most a tenth, and memory stayed flat."""
        return median(self.speeds) >= LEAST and max(self.worker_grown, self.grown) <= MOST_GROWN


def compared(items: int, rounds: int) -> Compared:
    """Flood with and without a viewer, in turn; the first round warms up."""
    with running() as (root, supervisor):
        alone, viewed, before = [], [], 0.0
        for number in range(rounds + 1):
            alone.append(flooded(root, items))
            viewed.append(_viewed(root, items))
            before = before if number else resident(supervisor)
        return Compared(alone[1:], viewed[1:], resident(supervisor) - before)


def planted(items: int, beside: Compared) -> Compared:
    """Flood with the planted fault and a viewer, beside what it costs without both."""
    with running(planted=True) as (root, supervisor):
        before = resident(supervisor)
        viewed = [_viewed(root, items) for _ in beside.alone]
        return Compared(beside.alone, viewed, resident(supervisor) - before)


def by_itself(items: int, rounds: int) -> list[Flood]:
    """Flood the same application in a process of its own, which nobody follows."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "shop.py").write_text(APP)
        (Path(folder) / "by_itself.py").write_text(BY_ITSELF)
        command = [sys.executable, "by_itself.py", str(items), str(rounds + 1)]
        path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        environ = {**os.environ, "PYTHONPATH": path, PLANT: ""}
        ended = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=600)
    return [Flood(*json.loads(line)) for line in ended.stdout.splitlines()][1:]


def _viewed(root: Path, items: int) -> Flood:
    with stalled_client(root):
        return flooded(root, items)


def _connected(root: Path) -> socket.socket:
    client = connect(root / ".microlith", 100.0)
    if client is None:
        raise OSError("nothing runs there")
    return client


def _answers(root: Path) -> bool:
    try:
        flooded(root, 10)
    except (OSError, RuntimeError):
        return False
    return True


def _told(name: str, floods: list[Flood]) -> None:
    each, rate = median(flood.each for flood in floods), median(flood.rate for flood in floods)
    print(f"  {name:34} {each * 1e6:6.1f} us of the worker for each, {rate:9,.0f} a second")


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budget is kept, and whether the planted fault is found."""
    items = 20_000 if quick else 100_000
    print(f"\nA viewer that never reads, {items:,} commands through `microlith run` (asked for {OFFERED:,} a second)")
    found = compared(items, rounds)
    faulty = planted(items, found)
    _told("by itself, without `run`", by_itself(items, rounds))
    _told("`run`, nobody attached", found.alone)
    _told("`run`, a viewer that never reads", found.viewed)
    _told("the same, with the planted fault", faulty.viewed)
    for name, one, wanted in (("with a viewer", found, True), ("the planted fault", faulty, False)):
        said = "kept" if one.kept else "MISSED"
        print(
            f"  {said}{'' if wanted else ', as it must be' if not one.kept else ', and must not be'}: {name} "
            f">= {LEAST} x without: {median(one.speeds):.2f} ({min(one.speeds):.2f}-{max(one.speeds):.2f}); "
            f"memory {one.worker_grown:+.1f} MiB in the worker, {one.grown:+.1f} MiB in the supervisor (at most {MOST_GROWN})"
        )
    return found.kept and not faulty.kept
