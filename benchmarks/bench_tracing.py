"""Tracing: commands sent as fast as this machine can, while somebody follows the tracer, reads or never reads.

What nobody reads must cost next to nothing: throughput falls by at most a tenth, memory stays flat, and each
follower is told exactly how many facts it missed. A message makes two facts: that it was sent, and handled.

The same through `microlith run`, where a client attached over the control socket follows and never reads; there the
load is made in the worker, by a handler.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from benchmarks.bench_dispatch import TURN, Count, Counter, send_all
from benchmarks.resident import resident
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, report
from microlith import Component, Microlith
from microlith.tracing.tracer import Fact, Follower
from microlith_cli.control.address import connect

OFFERED = 50_000
"""Messages a second that an application must be able to take while a viewer never reads."""


class CountError(AssertionError):
    """A follower was not told exactly what it missed."""


@dataclass(frozen=True)
class Load:
    """One run under load.

    Attributes:
        each: Processor seconds for one message.
        rate: Messages a second, by the clock on the wall.
        grown: MiB of memory that the second half of the run added.
    """

    each: float
    rate: float
    grown: float


def told(facts: Sequence[Fact]) -> int:
    """Count facts, each count of dropped ones as what it stands for."""
    return sum(fact["data"]["count"] if fact["type"] == "microlith.dropped" else 1 for fact in facts)


async def followed(items: int, *, readers: int = 0, stalled: int = 0, limit: int = 5_000) -> Load:
    """Send commands while some followers read and some never do; check that each is told of every fact.

    Until the buffers of `limit` facts are full, facts are made for those that never read, too; after that none is.
    """
    counter = Counter(items)
    component = Component("counting")
    component.handles(Count)(counter.handle)
    async with Microlith("counting", [component], store="memory:") as app:
        followers = [app.tracer.follow(limit) for _ in range(readers + stalled)]
        totals = [0] * readers

        async def read(number: int, follower: Follower) -> None:
            async for facts in follower:
                totals[number] += told(facts)

        tasks = [asyncio.create_task(read(*pair)) for pair in enumerate(followers[:readers])]
        begun, watch = monotonic(), Stopwatch()
        await send_all(app.command_bus.dispatch, items // 2, TURN)
        half = resident()
        await send_all(app.command_bus.dispatch, items - items // 2, TURN)
        await counter.done
        each, seconds = watch.each(items), monotonic() - begun
        grown = resident() - half
        app.tracer.flush()
        for number, follower in enumerate(followers):
            left = told(follower.take()) + (totals[number] if number < readers else 0)
            if left != 2 * items:
                raise CountError(f"follower {number} was told of {left} facts; there were {2 * items}")
            follower.close()
        await asyncio.gather(*tasks)
    return Load(each, items / seconds, grown)


APP = """
import asyncio
import time
from microlith import Command, CommandBus, Component, Event, Microlith

class Count(Command):
    n: int

class Flood(Command):
    items: int

class FloodedEvent(Event):
    each: float
    rate: float

shop = Component("shop")
left = 0

@shop.handles(Count)
async def count(command: Count) -> None:
    global left
    left -= 1

@shop.handles(Flood, timeout=120)
async def flood(command: Flood, commands: CommandBus) -> FloodedEvent:
    global left
    left, begun, cpu = command.items, time.monotonic(), time.process_time()
    for number in range(command.items):
        await commands.dispatch(Count(n=number))
        if not number % 256:
            await asyncio.sleep(0)
    while left > 0:
        await asyncio.sleep(0.001)
    return FloodedEvent(
        each=(time.process_time() - cpu) / command.items, rate=command.items / (time.monotonic() - begun)
    )

app = Microlith("shop", [shop], store="memory:", max_depth=10)
"""


@contextmanager
def running() -> Iterator[Path]:
    """Run a project with `microlith run` for as long as the block lasts; its folder."""
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
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            deadline = monotonic() + 20
            while not _answers(root) and monotonic() < deadline:
                sleep(0.1)
            yield root
        finally:
            process.terminate()
            process.wait(20)


def flooded(root: Path, items: int) -> tuple[float, float]:
    """Have the worker send itself commands; processor seconds each, and how many a second."""
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
                return data["each"], data["rate"]
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


def attached(items: int, rounds: int) -> bool:
    """Compare `microlith run` with and without a client that never reads, in turn; print, and tell whether it is kept."""
    ratios, rates = [], []
    with running() as root:
        flooded(root, items // 4)
        for _ in range(rounds):
            alone, rate = flooded(root, items)
            with stalled_client(root):
                viewed, _rate = flooded(root, items)
            ratios.append(alone / viewed)
            rates.append(rate)
    kept = median(ratios) >= 0.9
    print(
        f"  {'kept' if kept else 'MISSED'}: `microlith run` with a client that never reads >= 0.9 x without: "
        f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), at {median(rates):,.0f} messages a second"
    )
    return kept


BUDGETS = (
    Budget("reads", "nobody", 0.75),
    Budget("never reads", "nobody", 0.9),
    Budget("50 never read", "nobody", 0.9),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 30_000 if quick else 100_000
    loads: dict[str, list[Load]] = {}

    def contestant(name: str, note: str, readers: int, stalled: int) -> Contestant:
        def run() -> float:
            load = asyncio.run(followed(items, readers=readers, stalled=stalled))
            loads.setdefault(name, []).append(load)
            return load.each

        return Contestant(name, run, note)

    field = [
        contestant("nobody", "nobody follows", 0, 0),
        contestant("reads", "one follower that reads", 1, 0),
        contestant("never reads", "one follower that never reads", 0, 1),
        contestant("50 never read", "fifty of them", 0, 50),
    ]
    kept = report(f"Tracing, {items:,} commands, processor time", field, measure(field, rounds), "nobody", BUDGETS)
    for name, runs in loads.items():
        rate, grown = median(load.rate for load in runs), max(load.grown for load in runs[1:])
        print(f"  {name}: {rate:,.0f} messages a second (asked for {OFFERED:,}); memory +{max(0.0, grown):.1f} MiB")
    return attached(items // 2, rounds) and kept
