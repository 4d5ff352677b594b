"""A small project on disk, and `microlith run` on it as a process of its own.

Every wait is bounded; what was printed is part of the message when one fails.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.errors import ConnectionLostError

Line = dict[str, Any]

PATIENCE = 40.0
"""Seconds for anything that takes less than one on an idle machine."""

PYPROJECT = """\
[project]
name = "echo"

[tool.microlith]
app = "echo.app:app"
"""
APP = """\
from microlith import Microlith

app = Microlith("echo", components="echo")
"""
COMPONENT = """\
from microlith import Component

desk = Component("desk")
"""
MESSAGES = """\
from pydantic import SecretStr

from microlith import Command, Event, Query, Response


class Say(Command):
    number: int
    secret: SecretStr = SecretStr("hunter22")


class SaidEvent(Event):
    number: int
    words: str


class Sleep(Command):
    seconds: float


class SleptEvent(Event):
    seconds: float


class Die(Command):
    once: str


class DiedEvent(Event):
    pass


class TotalsResponse(Response):
    numbers: int
    said: int


class TotalsRequest(Query[TotalsResponse]):
    pass
"""
PROJECTION = """\
from echo.desk import desk
from echo.desk.commands.messages import SaidEvent
from microlith import ReadModel, Table


class Seen(ReadModel, key="number"):
    number: int
    times: int = 0


seen = desk.projection("seen", Seen)


@seen.on(SaidEvent)
def said(event: SaidEvent, table: Table[Seen]) -> None:
    row = table.get(event.number) or Seen(number=event.number)
    table.put(Seen(number=event.number, times=row.times + 1))
"""
HANDLERS = """\
import asyncio
import os
import sys
from pathlib import Path

from echo.desk import desk
from echo.desk.commands.messages import (
    Die, DiedEvent, SaidEvent, Say, Sleep, SleptEvent, TotalsRequest, TotalsResponse,
)
from echo.desk.projections.seen import Seen
from echo.desk.words import WORDS
from microlith import View


@desk.handles(Say)
async def say(command: Say) -> SaidEvent:
    if command.number < 0:
        print("to stdout", command.number, flush=True)
        print("to stderr", command.number, file=sys.stderr, flush=True)
    return SaidEvent(number=command.number, words=WORDS)


@desk.handles(Sleep)
async def sleep(command: Sleep) -> SleptEvent:
    print("sleeping", flush=True)
    await asyncio.sleep(command.seconds)
    return SleptEvent(seconds=command.seconds)


@desk.handles(Die)
async def die(command: Die) -> DiedEvent:
    mark = Path(command.once)
    if not mark.exists():
        mark.touch()
        os._exit(7)
    return DiedEvent()


@desk.handles(TotalsRequest)
async def totals(query: TotalsRequest, seen: View[Seen]) -> TotalsResponse:
    rows = [row for row in await seen.all(limit=1_000_000) if row.number > 0]
    return TotalsResponse(numbers=len(rows), said=sum(row.times for row in rows))
"""
WORDS = "echo/desk/words.py"
"""The file the tests edit: `WORDS` is in every SaidEvent."""


def make_project(root: Path) -> Path:
    """Write the project; returns its folder."""
    files = {
        "pyproject.toml": PYPROJECT,
        "echo/__init__.py": "",
        "echo/app.py": APP,
        "echo/desk/__init__.py": COMPONENT,
        "echo/desk/commands/__init__.py": "",
        "echo/desk/commands/messages.py": MESSAGES,
        "echo/desk/projections/__init__.py": "",
        "echo/desk/projections/seen.py": PROJECTION,
        "echo/desk/handlers/__init__.py": "",
        "echo/desk/handlers/all.py": HANDLERS,
        WORDS: 'WORDS = "one"\n',
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value of a condition; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} within {seconds:g} s")
        time.sleep(0.005)
    return value


def lives(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class NotThereError(Exception):
    """Nothing listens (yet)."""


class Attached:
    """A project that somebody runs, asked over its socket."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def serving(self, generation: int = 1) -> Line:
        """Wait until a generation, or a later one, serves; returns the status."""

        def status() -> Line | None:
            try:
                found = self.ask("status")[-1]["status"]
            except NotThereError:
                return None
            return found if found["state"] == "serving" and found["generation"] >= generation else None

        found: Line = until(status, f"generation {generation} does not serve")
        return found

    def session(self) -> RemoteSession:
        """Connect to it."""
        session = attach(self.root / ".microlith")
        if session is None:
            raise NotThereError
        return session

    def ask(self, verb: str, **arguments: Any) -> list[Line]:
        """Ask one request on a connection of its own; returns every line."""
        with self.session() as session:
            return list(session.request({"verb": verb, **arguments}, patience=60))

    def dispatch(self, name: str, data: Line | None = None, **arguments: Any) -> list[Line]:
        """Dispatch a message; returns every line."""
        return self.ask("dispatch", type=name, data=data or {}, **arguments)

    def totals(self) -> tuple[int, int]:
        """How many positive numbers were said, and how often in all."""
        lines = self.dispatch("TotalsRequest", timeout=PATIENCE)
        data = next(line["matched"]["data"] for line in lines if "matched" in line)
        return data["numbers"], data["said"]

    def words(self) -> str:
        """The words that a SaidEvent has now."""
        lines = self.dispatch("Say", {"number": 0}, wait=["SaidEvent"], timeout=PATIENCE)
        return str(next(line["matched"]["data"]["words"] for line in lines if "matched" in line))

    def save_words(self, words: str) -> None:
        """Save code that says other words."""
        (self.root / WORDS).write_text(f"WORDS = {words!r}\n", "utf-8")


class Live(Attached):
    """`microlith run` as a process, and what it prints."""

    def __init__(self, root: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(root)
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROLITH_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "microlith_cli", "run", *arguments],
            cwd=root,
            env={**clean, "NO_COLOR": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.stdout), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def printed(self, pattern: str, *, at_least: int = 1, seconds: float = PATIENCE) -> str:
        """Wait for a line that matches, in either stream; returns the last of as many as asked for."""

        def found() -> str | None:
            matching = [line for line in [*self.stdout, *self.stderr] if re.search(pattern, line)]
            return matching[at_least - 1] if len(matching) >= at_least else None

        try:
            return str(until(found, f"{pattern!r} was not printed", seconds))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def everything(self) -> str:
        """All that was printed, for a message."""
        return "\n".join(["stdout:", *self.stdout, "stderr:", *self.stderr])

    def serving(self, generation: int = 1) -> Line:
        """Wait until a generation, or a later one, serves; returns the status."""
        try:
            return super().serving(generation)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end; returns the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"run did not end within {seconds:g} s\n{self.everything()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def end(self) -> None:
        """Kill it, if it lives, and see to it that nothing of it stays."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    @staticmethod
    def _read(pipe: Any, lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in pipe)


class Sender(threading.Thread):
    """Dispatches numbers from 1 on, one after the other, and keeps count of the answers."""

    def __init__(self, running: Attached) -> None:
        super().__init__(daemon=True)
        self.accepted = 0
        self.refused: list[Line] = []
        self._running = running
        self._over = threading.Event()

    def run(self) -> None:
        """Send until told to stop, or until nobody answers any more."""
        with self._running.session() as session, suppress(ConnectionLostError):
            while not self._over.is_set():
                number = self.accepted + len(self.refused) + 1
                request = {"verb": "dispatch", "type": "Say", "data": {"number": number}}
                last = list(session.request(request, patience=60))[-1]
                if last["exit"] == 0:
                    self.accepted += 1
                else:
                    self.refused.append(last)

    def finish(self) -> int:
        """Stop; returns how many were accepted."""
        self._over.set()
        self.join(60)
        return self.accepted


@contextmanager
def live(root: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Live]:
    """Run a project for the length of a block."""
    running = Live(root, *arguments, environ=environ)
    try:
        yield running
    finally:
        running.end()


def workers_of(root: Path) -> set[int]:
    """Process ids of every worker that lives in a project's folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                here = (entry / "cwd").resolve() == root.resolve()
            except OSError:
                continue
            if here and b"microlith_cli.supervisor.worker_main" in command and lives(int(entry.name)):
                found.add(int(entry.name))
    return found
