"""Processes of the depot that share a store, and the books about what each of them did when."""

import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import monotonic, monotonic_ns

from tests.crash.depot import BroughtEvent

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
FOREVER = 1 << 62
EXCUSED_SECONDS = 3.0
"""How long after a cut a handler may begin whose claim went with the connection."""


@dataclass
class Handling:
    """One call of a handler: by which process, of what, from when to when."""

    slot: int
    bay: str
    item: str
    began: int
    ended: int = FOREVER


@dataclass
class Books:
    """What all processes said.

    Attributes:
        handlings: Calls of the handler of commands, as they began in each process.
        begun: Items whose command was handled, or begun with.
        weighed: How often each item's event was handled.
        cuts: When connections to the database were cut, from and to, and of which slot.
    """

    handlings: list[Handling] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    weighed: Counter[str] = field(default_factory=Counter)
    cuts: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def slots(self) -> set[int]:
        """Whose connections were cut."""
        return {slot for _, _, slot in self.cuts}

    def is_excused(self, slot: int, since: int, until: int) -> bool:
        """Tell whether a slot's connection to the database was cut in, or shortly before, that time."""
        earliest = since - round(EXCUSED_SECONDS * SECOND)
        return any(of == slot and earliest <= end and begin <= until for begin, end, of in self.cuts)

    def overlaps(self) -> tuple[list[str], int]:
        """Find where two were in the handler with one key: those without an excuse, and how many have one."""
        bays: dict[str, list[Handling]] = defaultdict(list)
        for handling in self.handlings:
            bays[handling.bay].append(handling)
        bad, excused = [], 0
        for bay, handlings in bays.items():
            for first, second in pairwise(sorted(handlings, key=lambda one: one.began)):
                if second.began >= first.ended:
                    continue
                if self.is_excused(first.slot, first.began, second.began):
                    excused += 1
                else:
                    bad.append(
                        f"{second.item} began in {second.slot} while {first.item} was handled in {first.slot} at {bay}"
                    )
        return bad, excused

    def stale(self, brought: Sequence[BroughtEvent]) -> tuple[list[str], int]:
        """Find handlers that did not see what was committed for their key before: those without an excuse, and the others."""
        counted: Counter[str] = Counter()
        bad, excused = [], 0
        for message in brought:
            counted[message.bay] += 1
            if message.number == counted[message.bay]:
                continue
            calls = [one for one in self.handlings if one.item == message.item]
            # Of whoever came between: one of the two had lost its claim.
            if any(self.is_excused(slot, one.began, one.ended) for one in calls for slot in self.slots):
                excused += 1
            else:
                bad.append(f"{message.item} saw {message.number - 1} of {counted[message.bay] - 1} at {message.bay}")
        return bad, excused


class Worker:
    """A process of the depot: started, killed and started again, as the same one of those that share.

    Attributes:
        interrupted: How many calls of handlers did not end, since it was killed.
        leads: Whether it leads.
        opened: Whether it is there.
    """

    def __init__(self, slot: int, books: Books, *arguments: str) -> None:
        self.slot = slot
        self.interrupted = 0
        self.leads = False
        self.opened = threading.Event()
        self._books = books
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._in_hand: dict[str, Handling] = {}

    def start(self) -> None:
        """Start it; it is there once `opened` is set."""
        self.opened.clear()
        self.leads = False
        command = [sys.executable, "-m", "tests.crash.depot_process", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """Kill it; what it had in hand ended at the earliest when it was told to."""
        when = monotonic_ns()
        self._running.send_signal(signal.SIGKILL)
        self._end()
        self.interrupted += len(self._in_hand)
        for handling in self._in_hand.values():
            handling.ended = when
        self._in_hand.clear()

    def put_away(self) -> None:
        """End it, however it is."""
        if self.is_running:
            self.kill()

    def stop(self, seconds: float = 60.0) -> int:
        """Let it end by itself; return its exit code."""
        process = self._running
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._end()

    @property
    def is_at_work(self) -> bool:
        """Whether a handler is being called."""
        return bool(self._in_hand)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("It was not started.")
        return self._process

    def _end(self) -> int:
        process = self._running
        code = process.wait()
        if self._reader is not None:
            self._reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self.leads = False
        return code

    def _read(self) -> None:
        for line in self._running.stdout or ():
            if line.endswith(b"\n"):  # the last words of one that was killed may be cut short
                moment, word, *rest = line.decode().split()
                self._note(int(moment), word, rest)

    def _note(self, moment: int, word: str, rest: list[str]) -> None:
        if word == "began":
            bay, item = rest
            self._in_hand[item] = handling = Handling(self.slot, bay, item, moment)
            self._books.handlings.append(handling)
            self._books.begun.add(item)
        elif word == "ended":
            self._in_hand.pop(rest[1]).ended = moment
        elif word == "weighed":
            self._books.weighed[rest[0]] += 1
        elif word == "leads":
            self.leads = True
        elif word == "open":
            self.opened.set()


def wait_for(worker: Worker, seconds: float = 60.0) -> None:
    """Return once a process is there.

    Raises:
        AssertionError: It has ended, or does not come.
    """
    until = monotonic() + seconds
    while not worker.opened.wait(0.05):
        assert worker.is_running, f"process {worker.slot} has ended"
        assert monotonic() < until, f"process {worker.slot} is not there after {seconds:g} s"
