"""Follows a tour of a page: types its commands one after the other, and keeps what they print.

Commands that run until they are stopped go on beside the others, each in a terminal of its own.
"""

import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import PROMPT, Block

LASTING = (("microlith run", "listens at"), ("microlith trace --follow", ""))
"""How a command that lasts begins, and what it shows when it is ready."""
SECONDS = 30.0
CUT = "..."

# What differs from machine to machine, and how the page has it: a folder of anybody's, and a SQLite without known faults.
LOCAL = (
    (re.compile(r"\S*/shop/\.microlith"), "…/shop/.microlith"),
    (re.compile(r"SQLite \d[\d.]+( \(.*\))?"), "SQLite 3.51.3"),
)
# What differs from run to run, and what is put in its place on both sides.
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d "), ""),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"(?:\d[\d.]* (?:µs|ms|s)|\d+[smh] ago)(?!\w)"), "TOOK"),
    (re.compile(r"[─━]+"), ""),
    (re.compile(r" +"), " "),
)


@dataclass(slots=True)
class Step:
    """One command of a tour: where it stands, what is typed, what the page says it prints, what it printed."""

    place: str
    typed: str
    expected: str
    got: str = ""


class Terminal:
    """A terminal without colours, so wide that nothing is cut, and a command that runs in it until it is stopped."""

    def __init__(self, typed: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (50, 200))
        self._process = subprocess.Popen(
            typed.split(), cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        """What it shows."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, ready: str) -> None:
        """Return when it shows a text, or its command has ended, or it takes too long."""
        deadline = time.monotonic() + SECONDS
        while ready not in self.text and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self) -> None:
        """End the command as Ctrl-C does, at the latest by force."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        try:
            while chunk := os.read(self._ours, 4096):
                self._shown += chunk
        except OSError:
            return  # how Linux says that nobody holds the other end any more


class Tour:
    """A user with several terminals, in one folder after the other."""

    def __init__(self, start: Path, environment: Mapping[str, str]) -> None:
        self._folder = start
        tool = str(Path(sys.executable).parent)
        self._environment = {**environment, "PATH": os.pathsep.join((tool, environment.get("PATH", "")))}
        self._terminals: list[tuple[Step, Terminal]] = []
        self._code = 0

    def take(self, step: Step) -> None:
        """Type one command."""
        ready = next((ready for beginning, ready in LASTING if step.typed.startswith(beginning)), None)
        if ready is not None:
            unbounded = {name: value for name, value in self._environment.items() if name != "COLUMNS"}
            terminal = Terminal(step.typed, self._folder, unbounded)
            self._terminals.append((step, terminal))
            terminal.wait_for(ready)
            if not ready:
                time.sleep(1.0)  # it shows nothing when it begins to listen
        elif step.typed.startswith("cd "):
            self._folder /= step.typed.removeprefix("cd ")
        elif step.typed == "echo $?":
            step.got = f"{self._code}\n"
        else:
            self._run(step)

    def end(self) -> None:
        """Stop what still runs, the last begun first, and keep what it showed."""
        while self._terminals:
            step, terminal = self._terminals.pop()
            terminal.stop()
            step.got = terminal.text.removesuffix("^C")

    def _run(self, step: Step) -> None:
        ended = subprocess.run(
            step.typed,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        step.got, self._code = ended.stdout.decode(), ended.returncode


def with_setup(block: Block) -> bool:
    """Whether a block sets up a fresh machine: that is the tests' own way to begin, and not a part of a tour."""
    return "-m venv" in block.text


def steps(blocks: list[Block]) -> list[Step]:
    """The commands of some blocks, in order, with what each is said to print."""
    found: list[Step] = []
    for block in blocks:
        lines = iter(enumerate(block.text.splitlines(), block.line))
        for number, line in lines:
            if line.startswith(PROMPT):
                typed = line.removeprefix(PROMPT)
                while typed.endswith("\\"):
                    typed = typed[:-1] + next(lines)[1].strip()
                found.append(Step(f"{block.page.name}:{number}", typed, ""))
            else:
                found[-1].expected += f"{line}\n"
    return found


def fits(step: Step) -> bool:
    """Whether a command printed what the page says; a line of three dots stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == CUT else re.escape(line) + r"\n" for line in steady(step.expected).splitlines()
    )
    return re.fullmatch(pattern, steady(step.got)) is not None


def anywhere(text: str) -> str:
    """A text without what only this machine has."""
    for pattern, name in LOCAL:
        text = pattern.sub(name, text)
    return text


def steady(text: str) -> str:
    """A text with all that varies made equal."""
    text = anywhere(text)
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())
