"""Whom a shell talks to: usually the microlith that runs elsewhere, whichever it is just now."""

import select
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Protocol

from microlith_cli.commands.completion import read_catalog
from microlith_cli.control.client import RemoteSession
from microlith_cli.errors import ConnectionLostError, NothingRunsError, ToolError
from microlith_cli.project import Project
from microlith_cli.session import Mode, Session, connect
from microlith_cli.shell.news import News

if TYPE_CHECKING:
    from microlith_cli.several import Several

NOTHING = "id=-"
"""A filter that only notices pass, such as a reload."""
_WAITS = 10.0
"""Seconds for which a command waits for a microlith that was there and is gone."""
_LOOKS_AGAIN = 0.2  # seconds


class Partner(Protocol):
    """Whom a shell talks to."""

    mode: Mode
    """How a command finds it."""

    def session(self) -> Session:
        """Give a session for one command.

        Raises:
            NothingRunsError: It is gone, and no other came.
        """
        ...

    def catalog(self) -> Mapping[str, Any]:
        """Tell what the application consists of; empty when that is not known."""
        ...

    def watch(self, asked: str | None) -> None:
        """Make news of what passes a filter from now on; None: only of what happens to the microlith itself."""
        ...

    def wait(self, descriptors: Sequence[int]) -> None:
        """Wait until one of some descriptors can be read."""
        ...

    def close(self) -> None:
        """Let go of it. One that runs elsewhere goes on."""
        ...


class Elsewhere:
    """The microlith that runs in a process of its own; when another one takes its place, that.

    Args:
        project: Whose.
        first: A session with it.
        news: Gets what is watched, and when it comes and goes.
        say: Takes a line for the user while a command runs.
        follows: Whether anybody reads the news.
    """

    mode: Mode = "attach"

    def __init__(
        self,
        project: Project,
        first: "RemoteSession | Several",
        news: News,
        say: Callable[[str], None],
        *,
        follows: bool,
    ) -> None:
        self._project = project
        self._news = news
        self._say = say
        self._asked = NOTHING
        self._changed = threading.Event()
        self._over = threading.Event()
        self._followed = first
        self._thread = threading.Thread(target=self._follow, args=(first,), name="microlith-shell-news", daemon=True)
        if follows:
            self._thread.start()
        else:
            first.close()

    def session(self) -> Session:
        """Give a session for one command; see `Partner`."""
        until = monotonic() + _WAITS
        waits = False
        while (found := self._attach()) is None:
            if monotonic() > until:
                raise NothingRunsError(
                    f"No microlith of {self._project.name} is running any more.",
                    hint="Start it again with `microlith run`; the shell finds it by itself.",
                )
            if not waits:
                self._say(f"no microlith is running; waiting for one, up to {_WAITS:.0f} s")
                waits = True
            sleep(_LOOKS_AGAIN)
        return found

    def catalog(self) -> Mapping[str, Any]:
        """Read what the running microlith has written down for completion."""
        return read_catalog(str(self._project.root))

    def watch(self, asked: str | None) -> None:
        """Make news of what passes a filter; see `Partner`."""
        self._asked = NOTHING if asked is None else asked
        self._changed.set()
        self._followed.close()

    def wait(self, descriptors: Sequence[int]) -> None:
        """Wait until one of some descriptors can be read."""
        select.select(descriptors, [], [])

    def close(self) -> None:
        """Hang up."""
        self._over.set()
        self._followed.close()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _attach(self) -> "RemoteSession | Several | None":
        try:
            return connect(self._project)
        except ConnectionLostError:  # it was about to end
            return None

    def _follow(self, session: "RemoteSession | Several") -> None:
        while not self._over.is_set():
            self._followed = session
            self._changed.clear()
            try:
                for reply in session.request({"verb": "follow", "filter": self._asked}):
                    if "fact" in reply:
                        self._news.fact(reply["fact"])
                    elif "error" in reply:
                        self._news.say(str(reply["error"].get("message")))
            except (ToolError, OSError):
                pass  # it went away, or something else is wanted; either is looked at below
            session.close()
            changed = self._changed.is_set()
            if not changed and not self._over.is_set():
                self._news.say("The microlith has ended. The shell attaches to the next one by itself.")
            found = self._next()
            if found is None:
                return
            session = found
            if not changed:
                self._news.say(f"Attached again: {session.hello.get('app')}, process {session.hello.get('pid')}.")

    def _next(self) -> "RemoteSession | Several | None":
        """Wait until a microlith runs; None when the shell ends before."""
        while not self._over.is_set():
            try:
                if (found := self._attach()) is not None:
                    return found
            except (ToolError, OSError):
                pass  # one that begins or ends; a command would tell the user
            self._over.wait(_LOOKS_AGAIN)
        return None
