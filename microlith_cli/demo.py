"""The demo: a scaffolded application, run for real, and what is sent to it.

`microlith run` is started as a child process, messages go to it over its control socket, and what
it traces comes back through its output. Told as scenes, one after the other; whoever plays them draws.

Makes no files of its own: the project is there already.
"""

import importlib.util
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

from microlith_cli.causation import HANDLED, cause_of, id_of
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, RefusedError, ToolError
from microlith_cli.project import Project, find_project
from microlith_cli.session import Session, open_session

Fact = dict[str, Any]

START_SECONDS = 20.0
STOP_SECONDS = 5.0
STEP_SECONDS = 10.0
_MOST_LINES = 10_000  # of the child, read and not yet looked at

EMAIL = "ann@example.org"
PASSWORD = "correct horse"  # noqa: S105 (an example's)


class DemoDependencyError(ToolError):
    """The example application needs a library that is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The demo's application hashes passwords with argon2-cffi, which is not installed.",
            hint=f"{sys.executable} -m pip install argon2-cffi",
        )


class DemoFailedError(ToolError):
    """Something in the demo did not go as it was told."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done.

    Attributes:
        title: What for.
        command: The command line that does the same.
        request: What is asked of the running application.
        expected: The type that must come, and the exit code with it.
    """

    title: str
    command: str
    request: Mapping[str, Any]
    expected: tuple[str, int]


@dataclass(slots=True)
class Outcome:
    """What came of a step.

    Attributes:
        exit: The exit code that `microlith dispatch` would have.
        matched: The messages that were waited for.
        facts: All that is known of the correlation, in order.
    """

    exit: int = DONE
    matched: list[Fact] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def _dispatch(title: str, flags: str, data: Mapping[str, Any], wait: str, fail_on: str = "", code: int = DONE) -> Step:
    """One message and what to wait for; `flags` are the message and its fields as they are typed."""
    is_query = flags.startswith("CurrentUserRequest")
    waits = "" if is_query else f" --wait {wait}"
    command = f"microlith dispatch {flags}{waits}{f' --fail-on {fail_on}' if fail_on else ''}"
    request = {
        "verb": "dispatch",
        "type": flags.partition(" ")[0],
        "data": data,
        "wait": [] if is_query else [wait],
        "fail_on": [fail_on] if fail_on else [],
        "timeout": STEP_SECONDS,
    }
    return Step(title, command, request, (fail_on if code else wait, code))


STEPS: Sequence[Step] = (
    _dispatch(
        "Register a user",
        f"RegisterCommand --email {EMAIL}",
        {"email": EMAIL, "password": PASSWORD},
        "UserRegisteredEvent",
    ),
    _dispatch(
        "Log in with a wrong password",
        f"LoginCommand --email {EMAIL} --sid s1",
        {"email": EMAIL, "password": "wrong", "sid": "s1"},
        "UserLoggedInEvent",
        "LoginErrorRaised",
        SAID_NO,
    ),
    _dispatch(
        "Log in with the right one",
        f"LoginCommand --email {EMAIL} --sid s1",
        {"email": EMAIL, "password": PASSWORD, "sid": "s1"},
        "UserLoggedInEvent",
        "LoginErrorRaised",
    ),
    _dispatch("Ask who that is", "CurrentUserRequest --id 1", {"id": 1}, "CurrentUserResponse"),
    _dispatch("Log out", "LogoutCommand --sid s1", {"sid": "s1"}, "UserLoggedOutEvent", "LogoutErrorRaised"),
)
RUN_COMMAND = "microlith run"
REBUILD_COMMAND = "microlith replay projection --all"
TRACE_COMMAND = "microlith trace @last"


def check_dependencies() -> None:
    """Make sure that the example application can be imported here.

    Raises:
        DemoDependencyError: It can not.
    """
    if importlib.util.find_spec("argon2") is None:
        raise DemoDependencyError


@contextmanager
def running(root: Path) -> Iterator["DemoRun"]:
    """Serve a project with `microlith run` in a child process, from entering to leaving.

    Raises:
        DemoFailedError: It did not start; says why.
    """
    # What is set for another project must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MICROLITH_")}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "microlith_cli", "-C", str(root), "run", "--no-reload", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us; we end the child in good order
        )
        run = DemoRun(child, said)
        try:
            run.open(find_project(root))
            yield run
        finally:
            run.close()


class DemoRun:
    """A served project, and a session with it.

    Attributes:
        serving: What the child said when it was ready: its components, handlers, store.
        pid: The child's process id.
    """

    def __init__(self, child: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.pid = child.pid
        self.serving: Fact = {}
        self._child = child
        self._said = said
        self._session: Session | None = None
        self._lines: queue.Queue[Fact | None] = queue.Queue(_MOST_LINES)
        self._reader = threading.Thread(target=self._read, args=(child.stdout,), daemon=True)
        self._reader.start()

    def open(self, project: Project) -> None:
        """Wait until the child serves, and attach to it."""
        line = self._next(monotonic() + START_SECONDS)
        if line is None or "serving" not in line:
            raise DemoFailedError(f"The example did not start: {self._complaint(line)}")
        self.serving = line["serving"]
        self._session = open_session(project, "attach", say=lambda _: None)

    def close(self) -> None:
        """End the child: in good order, then not."""
        session, self._session = self._session, None
        if session is None:
            self._child.terminate()
        else:
            with session, suppress(ToolError):  # it may be gone already, which is as good
                for _ in session.request({"verb": "stop"}, patience=STOP_SECONDS):
                    pass
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._reader.join(STOP_SECONDS)
        if self._child.stdout is not None:
            self._child.stdout.close()

    def perform(self, step: Step) -> Iterator[Fact | Outcome]:
        """Do one step: yields each fact as it comes, and the outcome last.

        Raises:
            DemoFailedError: Something else came of it than was told.
            RefusedError: The application refused the message.
        """
        outcome = Outcome()
        replies = self._ask(step.request)
        if "accepted" in (first := next(replies, {})):
            for fact in self._facts_until_settled():
                outcome.facts.append(fact)
                yield fact
        for reply in (first, *replies):
            if "matched" in reply:
                outcome.matched.append(reply["matched"])
            if reply.get("end"):
                outcome.exit = int(reply.get("exit", DONE))
                if "error" in reply and not outcome.matched:
                    raise RefusedError(reply["error"], outcome.exit)
        came = outcome.matched[-1].get("type") if outcome.matched else "nothing"
        if (came, outcome.exit) != step.expected:
            raise DemoFailedError(f"{step.title}: {step.expected[0]} was expected, {came} came.")
        yield outcome

    def rebuild(self) -> list[Fact]:
        """Build all read models anew from the events; returns what is known of each.

        Raises:
            DemoFailedError: A read model is not what it was.
        """
        rows: list[Fact] = []
        for reply in self._ask({"verb": "rebuild", "projections": None}):
            if "error" in reply:
                raise RefusedError(reply["error"], int(reply.get("exit", SAID_NO)))
            rows = reply.get("rebuilt", rows)
        if different := [row["projection"] for row in rows if row["before"] != row["after"]]:
            raise DemoFailedError(f"Rebuilt from the events, {', '.join(different)} came out differently.")
        return rows

    def _ask(self, request: Mapping[str, Any]) -> Iterator[Fact]:
        if self._session is None:
            raise ConnectionLostError
        return self._session.request(request, patience=STEP_SECONDS * 2)

    def _facts_until_settled(self) -> Iterator[Fact]:
        """Facts until every command and query was handled, and all that came of it was seen; bounded in time."""
        deadline = monotonic() + STEP_SECONDS
        unhandled: set[str] = set()
        sent: set[str] = set()
        seen: set[str] = set()
        while not seen or unhandled or sent - seen:
            fact = self._next(deadline)
            if fact is None:
                raise DemoFailedError(f"The trace broke off: {self._complaint(None)}")
            if fact.get("type") == HANDLED:
                unhandled.discard(cause_of(fact))
                sent.update(fact["data"].get("sent", ()))
            elif "bus" in fact:
                seen.add(id_of(fact))
                if fact["bus"] != "event" and fact.get("handlers"):
                    unhandled.add(id_of(fact))
            yield fact

    def _read(self, stream: IO[bytes]) -> None:
        """Take what the child writes, line by line, in a thread of its own; None at the end."""
        try:
            for line in stream:
                self._lines.put(json.loads(line))
        finally:
            self._lines.put(None)

    def _next(self, deadline: float) -> Fact | None:
        try:
            return self._lines.get(timeout=max(0.0, deadline - monotonic()))
        except queue.Empty:
            return None

    def _complaint(self, line: Fact | None) -> str:
        """What the child had to say about its end."""
        if line is not None and "error" in line:
            return str(line["error"].get("message"))
        self._said.seek(0)
        words = self._said.read(2000).decode("utf-8", "replace").strip()
        return words or f"it said nothing within {START_SECONDS:g} s."
