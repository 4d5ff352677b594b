"""A session: a microlith to ask, running elsewhere or in this very process, in one shape.

`open_session` gives either: a socket to the one that runs, or one that is started here, asked, and stopped.

Needs the standard library only, as long as something runs. Writes nothing: whoever opens a session is
told what to say.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from microlith_cli.control.address import SOCKET
from microlith_cli.control.client import attach
from microlith_cli.errors import ConnectionLostError, NothingRunsError, RefusedError, UnknownNameError, UsageError
from microlith_cli.project import Project, load_app, meant

ANSWER_SECONDS = 30.0  # for what a running microlith knows without asking anybody

Mode = Literal["auto", "attach", "once"]

_chosen: list[tuple[Mode, Callable[[], "Session"]]] = []
"""Whom every command of this process asks, where that was chosen for all of them; the last one counts."""


class LogSession(Protocol):
    """Somebody to ask one thing after the other, such as about events. Close it when done; it is also a context manager that does."""

    mode: str
    """What answers: "attached", "once" or "resting"."""

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        """Ask, and yield every reply as it comes; the last has `end`. `patience`: longest silence, seconds."""
        ...

    def close(self) -> None:
        """End it. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Session(LogSession, Protocol):
    """Somebody to ask, also many things at a time."""

    def requests(
        self, requests: Iterable[Mapping[str, Any]], *, at_once: int, patience: float | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ask many things, some at a time; yield every reply with the number of its request, from 0."""
        ...


@contextmanager
def chosen(mode: Mode, give: Callable[[], Session]) -> Iterator[None]:
    """Choose whom every command asks that runs meanwhile, as a shell does for its lines.

    Args:
        mode: How `give` finds it; a command that insists on another way goes its own.
        give: Gives a session each time one is wanted; it may raise what `open_session` does.
    """
    _chosen.append((mode, give))
    try:
        yield
    finally:
        _chosen.pop()


def open_session(
    project: Project, mode: Mode = "auto", *, say: Callable[[str], None], sends_scheduled: bool = True
) -> Session:
    """Open a session with a project's microlith.

    Args:
        project: Whose.
        mode: "attach": the running one; "once": one of our own; "auto": the running one if there is one.
        say: Takes one line for the user, such as that one had to be started; it may hold data.
        sends_scheduled: Whether one of our own sends the scheduled messages that are due.

    Raises:
        NothingRunsError: Nothing runs and `mode` is "attach", or what runs does not answer.
        UnsafeDirectoryError: The project's `.microlith` is not this user's alone.
        AppLoadError: The application does not import.
    """
    if _chosen and mode in {"auto", _chosen[-1][0]}:
        return _chosen[-1][1]()
    if mode != "once":
        if (attached := _attached(project, say)) is not None:
            return attached
        if mode == "attach":
            raise NothingRunsError(f"No microlith of {project.name} is running.")
        say(f"no microlith is running here; running {project.name} once")
    # Imports asyncio, pydantic and the user's code; a client of a running microlith needs none of them.
    from microlith_cli.once import LocalSession  # noqa: PLC0415

    return LocalSession(project, say, sends_scheduled=sends_scheduled)


def _attached(project: Project, say: Callable[[str], None]) -> Session | None:
    """Find what runs: the process that is meant, else the first one that runs some of the components."""
    attached = attach(project.state)
    if attached is not None or meant():
        return attached
    for folder in sorted(path.parent for path in project.state.glob(f"*/{SOCKET}")):
        if (attached := attach(folder)) is not None:
            say(f"asking the process of {folder.name}; MICROLITH_COMPONENT names another")
            return attached
    return None


def open_log(project: Project, *, say: Callable[[str], None]) -> LogSession:
    """Open a session that answers about events: with the running microlith, or with the store of one that rests.

    Raises:
        NothingRunsError: What runs does not answer; or nothing runs, and the store is in memory.
        StoreLockedError: A process that answers nobody owns the store.
    """
    if _chosen:
        return _chosen[-1][1]()
    if (attached := _attached(project, say)) is not None:
        return attached
    # Imports the driver and the user's code; a client of a running microlith needs neither.
    from microlith_cli.resting import RestingSession  # noqa: PLC0415

    return RestingSession(project, say)


def read_catalog(project: Project) -> Mapping[str, Any]:
    """Ask what an application consists of: the running one, or the imported one when none runs.

    Raises:
        NothingRunsError: What runs does not answer.
        AppLoadError: Nothing runs, and the application does not import.
    """
    attached = _chosen[-1][1]() if _chosen else _attached(project, lambda _: None)
    if attached is None:
        os.chdir(project.root)
        app = load_app(project)
        app.wire()
        return app.catalog()
    with attached:
        catalog: Mapping[str, Any] = only_reply(attached, {"verb": "list"})["catalog"]
        return catalog


def only_reply(session: Session, request: Mapping[str, Any]) -> Any:
    """Ask for something that has one reply.

    Raises:
        RefusedError: The reply is an error.
    """
    for reply in session.request(request, patience=ANSWER_SECONDS):
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", 1)))
        return reply
    raise ConnectionLostError


def message_named(catalog: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Find a message type in a catalog: by class name, or as component.Type.

    Raises:
        UnknownNameError: There is none of that name.
        UsageError: Two components have one.
    """
    messages: list[Mapping[str, Any]] = catalog["messages"]
    found = [entry for entry in messages if name in _names(entry)]
    if not found:
        raise UnknownNameError("message", name, [entry["type"] for entry in messages], see="microlith list")
    if len(found) > 1:
        full = [_names(entry)[1] for entry in found]
        raise UsageError(f"{name!r} could be {' or '.join(full)}.", hint=f"Write {full[0]!r}.")
    return found[0]


def component_named(catalog: Mapping[str, Any], name: str) -> str:
    """Find a component in a catalog.

    Raises:
        UnknownNameError: There is none of that name.
    """
    known: list[str] = catalog["components"]
    if name not in known:
        raise UnknownNameError("component", name, known, see="microlith list --components")
    return name


def _names(entry: Mapping[str, Any]) -> tuple[str, str]:
    """A message's class name, and its full name; the catalog has the full one where the other is not enough."""
    name = str(entry["type"]).rpartition(".")[2]
    return name, f"{entry['component']}.{name}"
