"""A session: a microlith to ask, running elsewhere or in this very process, in one shape.

`open_session` gives either: a socket to the one that runs, or one that is started here, asked, and stopped.

Needs the standard library only, as long as something runs. Writes nothing: whoever opens a session is
told what to say.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from microlith_cli.control.address import POINTER, SOCKET
from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.errors import ConnectionLostError, NothingRunsError, RefusedError, UnknownNameError, UsageError
from microlith_cli.project import Project, load_app, meant
from microlith_cli.sharing import base_of, is_number, shares_store

if TYPE_CHECKING:
    from microlith_cli.several import Several

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
        NothingRunsError: Nothing runs and `mode` is "attach", or what runs does not answer; or its components run apart.
        UnsafeDirectoryError: The project's `.microlith` is not this user's alone.
        AppLoadError: The application does not import.
    """
    if _chosen and mode in {"auto", _chosen[-1][0]}:
        return _chosen[-1][1]()
    if mode != "once":
        if (attached := connect(project)) is not None:
            return attached
        if mode == "attach":
            raise NothingRunsError(f"No microlith of {project.name} is running.")
        _check_that_one_may_run(project)
        say(f"no microlith is running here; running {project.name} once")
    # Imports asyncio, pydantic and the user's code; a client of a running microlith needs none of them.
    from microlith_cli.once import LocalSession  # noqa: PLC0415

    return LocalSession(project, say, sends_scheduled=sends_scheduled)


def connect(project: Project) -> "RemoteSession | Several | None":
    """Connect to what runs: the process that is meant, or all that run some of the components; None when nothing does.

    Raises:
        NothingRunsError: What runs does not answer.
        UnsafeDirectoryError: A folder of it is not this user's alone.
    """
    find: Callable[[Project, Collection[str]], dict[str, RemoteSession]] = connect_sharing
    found = find(project, ())
    if not found and not meant():
        find = connect_parts
        found = find(project, ())
    if not found or (len(found) == 1 and not shares_store(project.config)):
        return next(iter(found.values()), None)
    # Imports something of the runtime; where one process runs, and no other may come, nothing needs it.
    from microlith_cli.several import Several  # noqa: PLC0415

    return Several(found, lambda known: find(project, known))


def _check_that_one_may_run(project: Project) -> None:
    """Refuse to run the whole application once where its components run apart: it would take what is for them.

    Raises:
        NothingRunsError: So it is.
    """
    if project.parts and project.config.buses:
        raise NothingRunsError(
            f"No microlith of {project.name} is running, and its components run in processes of their own: "
            f"{', '.join(project.parts)}.",
            hint="Start them with `microlith run --all`; --once runs the whole application beside them, once.",
        )


def connect_parts(project: Project, but: Collection[str] = ()) -> dict[str, RemoteSession]:
    """Connect to the processes that run some of the components, but for some; by their names."""
    names = {path.parent.name for file in (SOCKET, POINTER) for path in project.state.glob(f"*/{file}")}
    parts = sorted({base_of(name) for name in names if not is_number(name)})
    return {name: session for part in parts for name, session in connect_sharing(project, but, part).items()}


def connect_sharing(project: Project, but: Collection[str] = (), part: str = "") -> dict[str, RemoteSession]:
    """Connect to the process of what is meant, or of some components, or to all such that share a store; by their names.

    Raises:
        NothingRunsError: What runs does not answer; of those that share a store, none does.
    """
    found: dict[str, RemoteSession] = {}
    silent: NothingRunsError | None = None
    for name, folder in project.places(part).items():
        try:
            session = None if name in but else attach(folder)
        except NothingRunsError as error:
            silent = error
        else:
            found |= {} if session is None else {name: session}
    if silent is not None and not found:
        raise silent
    return found


def connect_leading(project: Project, part: str = "") -> RemoteSession | None:
    """Connect to the process of what is meant, or of some components; of those that share a store, to the one that leads.

    Any of them where none leads just now; None where none runs.
    """
    found = connect_sharing(project, part=part)
    chosen = next((name for name, session in found.items() if session.hello.get("leads", True)), next(iter(found), ""))
    for name, session in found.items():
        if name != chosen:
            session.close()
    return found.get(chosen)


def sharers(project: Project) -> list[Mapping[str, Any]]:
    """What each process that runs, of those that share a store, says of itself; none where no store is shared."""
    found = connect_sharing(project) or connect_parts(project)
    for session in found.values():
        session.close()
    return [session.hello for session in found.values() if session.hello.get("shared")]


def processes_of(session: LogSession) -> list[str]:
    """Name the processes that answer, where there are several; what each keeps is asked with its name as `process`.

    Those that share a store keep it together, and have one name.
    """
    names: list[str] = list(getattr(session, "processes", ()))
    return names if len(names) > 1 else []


def open_log(project: Project, *, say: Callable[[str], None]) -> LogSession:
    """Open a session that answers about events: with the running microlith, or with the store of one that rests.

    Raises:
        NothingRunsError: What runs does not answer; or nothing runs, and the store is in memory.
        StoreLockedError: A process that answers nobody owns the store.
    """
    if _chosen:
        return _chosen[-1][1]()
    if (attached := connect(project)) is not None:
        if not meant() and len(names := attached.hello.get("components", ())) and not processes_of(attached):
            say(f"asking the process of {', '.join(names)}; MICROLITH_COMPONENT names another")
        return attached
    if project.parts:
        if not project.ran_whole:
            raise UsageError(
                f"Each process keeps a log of its own; which is meant: {', '.join(project.parts)}?",
                hint=f"Say it with MICROLITH_COMPONENT, such as MICROLITH_COMPONENT={project.parts[0]}.",
            )
        say(f"reading the log of the whole application; MICROLITH_COMPONENT names another: {', '.join(project.parts)}")
    # Imports the driver and the user's code; a client of a running microlith needs neither.
    from microlith_cli.resting import RestingSession  # noqa: PLC0415

    return RestingSession(project, say)


def read_catalog(project: Project) -> Mapping[str, Any]:
    """Ask what an application consists of: the running one, or the imported one when none runs.

    Raises:
        NothingRunsError: What runs does not answer.
        AppLoadError: Nothing runs, and the application does not import.
    """
    attached = _chosen[-1][1]() if _chosen else connect(project)
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


def all_rows(session: Session, verb: str, *, after: object, cursor: str) -> list[Mapping[str, Any]]:
    """Ask for all that a process keeps, page by page; of several processes for what each keeps, each row with its `process`.

    Args:
        session: Who is asked.
        verb: What is asked for; the rows are in the reply under the same name.
        after: What the first page comes after.
        cursor: The field of the last row of a page that the next one comes after.
    """
    rows: list[Mapping[str, Any]] = []
    for process in [{"process": name} for name in processes_of(session)] or [{}]:
        last = after
        while page := only_reply(session, {"verb": verb, "after": last, **process})[verb]:
            rows += [{**row, **process} for row in page]
            last = page[-1][cursor]
    return rows


def whose(row: Mapping[str, Any]) -> dict[str, str]:
    """Say in a request which process a row of `all_rows` is asked of, where there are several."""
    return {"process": row["process"]} if "process" in row else {}


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
