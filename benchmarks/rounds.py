"""Rounds: contestants run in turn, again and again, in one process; what is compared is the ratio within a round.

A machine that is slow for a second is slow for all contestants of that round. Numbers of two runs
are not comparable; ratios are.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Contestant:
    """One way of doing the work.

    Attributes:
        name: Shown in the table; unique in its benchmark.
        run: Does the work once and returns the seconds it took for one item.
        note: What it does and does not do.
    """

    name: str
    run: Callable[[], float]
    note: str = ""


@dataclass(frozen=True)
class Budget:
    """A promise: one contestant reaches at least `least` times the speed of another."""

    name: str
    of: str
    least: float


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"

    def scaled(self, factor: float) -> "Spread":
        """Return the same in another unit."""
        return Spread(self.middle * factor, self.low * factor, self.high * factor)


class Results:
    """Seconds per item of each contestant, round by round."""

    def __init__(self, seconds: Mapping[str, Sequence[float]]) -> None:
        self._seconds = seconds

    def seconds(self, name: str) -> Spread:
        """Return what one item cost a contestant."""
        return _spread(self._seconds[name])

    def speed(self, name: str, of: str) -> Spread:
        """Return how fast a contestant is compared with another: 1 is as fast, 2 is twice as fast."""
        return _spread([b / a for a, b in zip(self._seconds[name], self._seconds[of], strict=True)])

    def best_speed(self, name: str, of: str) -> float:
        """Compare the best rounds of both: what the code can do when the machine does not disturb it."""
        return min(self._seconds[of]) / min(self._seconds[name])

    def __contains__(self, name: object) -> bool:
        return name in self._seconds


def measure(contestants: Sequence[Contestant], rounds: int) -> Results:
    """Run every contestant once a round. The first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds + 1):
        turn = number % len(contestants)  # nobody always runs behind the same neighbour
        for contestant in (*contestants[turn:], *contestants[:turn]):
            gc.collect()
            took = contestant.run()
            if number:
                seconds[contestant.name].append(took)
    return Results(seconds)


def reached(ours: Callable[[], float], limit: Callable[[], float], floor: float, *, least: int, most: int) -> float:
    """Tell how fast one way is beside another, in the best rounds of both, after as many rounds as that takes.

    Whatever else a machine does makes rounds slower and none quicker, so more of them come closer to what the code can
    do. There are at least `least`, in which both had their chance, and no more once `floor` is reached, or after `most`.
    """
    seconds: dict[str, list[float]] = {"ours": [], "limit": []}
    for number in range(most + 1):
        for name, run in (("ours", ours), ("limit", limit))[:: -1 if number % 2 else 1]:
            gc.collect()
            took = run()
            if number:  # the first round warms up
                seconds[name].append(took)
        if number >= least and Results(seconds).best_speed("ours", "limit") >= floor:
            break
    return Results(seconds).best_speed("ours", "limit")


def report(
    title: str,
    contestants: Sequence[Contestant],
    results: Results,
    of: str,
    budgets: Sequence[Budget],
    *,
    unit: str = "us",
) -> bool:
    """Print a table, in "us" or "ms", and what became of the budgets; tell whether all are kept."""
    print(f"\n{title}")
    width = max(len(contestant.name) for contestant in contestants)
    heading = f"{unit} each, median (range)"
    print(f"  {'':{width}}  {heading:>26}  {'speed / ' + of}")
    for contestant in contestants:
        cost = results.seconds(contestant.name).scaled(1e6 if unit == "us" else 1e3)
        speed = results.speed(contestant.name, of)
        print(f"  {contestant.name:{width}}  {cost!s:>26}  {speed!s:20}  {contestant.note}".rstrip())
    kept = True
    for budget in budgets:
        if budget.name in results and budget.of in results:
            reached = results.speed(budget.name, budget.of)
            kept = kept and reached.middle >= budget.least
            word = "kept" if reached.middle >= budget.least else "MISSED"
            print(f"  {word}: {budget.name} >= {budget.least:.3g} x {budget.of}: {reached}")
    return kept


def peer(package: str) -> Any:
    """Import a peer; None, and a line that says how to install it, when it is not there."""
    try:
        return import_module(package)
    except ImportError:
        print(f"  without {package}; to see it: pip install {package}")
        return None


class Stopwatch:
    """Measures the processor time this process takes, all its threads together; `wall` for real time."""

    def __init__(self, *, wall: bool = False) -> None:
        self._clock = time.perf_counter if wall else time.process_time
        self._begun = self._clock()

    def each(self, items: int) -> float:
        """Return the seconds since the start, for one of some items."""
        return (self._clock() - self._begun) / items


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))
