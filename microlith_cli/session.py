"""A session: a microlith to ask, running elsewhere or in this very process, in one shape.

`open_session` gives either. Attached, it is a socket and the standard library; once, the project's
application is started here, asked, and stopped.

Knows no verb's meaning, and writes nothing: whoever opens a session is told what to say.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from microlith_cli.control.client import attach
from microlith_cli.errors import ConnectionLostError, NothingRunsError, RefusedError, UnknownNameError, UsageError
from microlith_cli.project import Project, load_app

if TYPE_CHECKING:
    import asyncio

    from microlith_cli.supervisor.worker import Worker

ANSWER_SECONDS = 30.0  # for what a running microlith knows without asking anybody

Mode = Literal["auto", "attach", "once"]


class Session(Protocol):
    """Somebody to ask. Close it when done; it is also a context manager that does."""

    mode: str
    """"attached" or "once"."""

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


def open_session(project: Project, mode: Mode = "auto", *, say: Callable[[str], None]) -> Session:
    """Open a session with a project's microlith.

    Args:
        project: Whose.
        mode: "attach": the running one; "once": one of our own; "auto": the running one if there is one.
        say: Takes one line for the user, when "auto" has to start one.

    Raises:
        NothingRunsError: Nothing runs and `mode` is "attach", or what runs does not answer.
        UnsafeDirectoryError: The project's `.microlith` is not this user's alone.
        AppLoadError: The application does not import.
    """
    if mode != "once":
        if (attached := attach(project.state)) is not None:
            return attached
        if mode == "attach":
            raise NothingRunsError(f"No microlith of {project.name} is running.")
        say(f"no microlith is running here; running {project.name} once")
    return LocalSession(project)


def read_catalog(project: Project) -> Mapping[str, Any]:
    """Ask what an application consists of: the running one, or the imported one when none runs.

    Raises:
        NothingRunsError: What runs does not answer.
        AppLoadError: Nothing runs, and the application does not import.
    """
    attached = attach(project.state)
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
    found = [entry for entry in messages if name in {entry["type"], f"{entry['component']}.{entry['type']}"}]
    if not found:
        raise UnknownNameError("message", name, [entry["type"] for entry in messages], see="microlith list")
    if len(found) > 1:
        full = [f"{entry['component']}.{entry['type']}" for entry in found]
        raise UsageError(f"{name!r} could be {' or '.join(full)}.", hint=f"Write {full[0]!r}.")
    return found[0]


class LocalSession:
    """The application, started in this process; between two replies it stands still."""

    mode = "once"

    def __init__(self, project: Project) -> None:
        # Heavy, and needed in this mode alone.
        import asyncio  # noqa: PLC0415

        from microlith_cli.supervisor.worker import Worker  # noqa: PLC0415

        os.chdir(project.root)  # as under `run`: relative paths mean the same
        app = load_app(project)
        self._last = 0
        self._runner: asyncio.Runner | None = asyncio.Runner()
        self._worker: Worker = Worker(app)
        try:
            self._runner.run(self._worker.start())
        except BaseException:
            self._runner.close()
            self._runner = None
            raise

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        """Ask, and yield every reply as it comes; the last has `end`. `patience` is not needed here."""
        del patience
        self._last += 1
        return self._replies({"id": self._last, **request})

    def close(self) -> None:
        """Stop the application. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._worker.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _replies(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self._runner is None:
            raise NothingRunsError("This session is closed.", hint="Open another one.")
        exchange = _Exchange(self._worker, request)
        ended = False
        try:
            while not ended and (reply := self._runner.run(exchange.next())) is not None:
                ended = bool(reply.get("end"))
                yield reply
        finally:
            self._runner.run(exchange.close())


class _Exchange:
    """One request on its way through a worker: a task, and the replies it has made so far."""

    def __init__(self, worker: "Worker", request: dict[str, Any]) -> None:
        self._worker = worker
        self._request = request
        self._replies: deque[dict[str, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._news: asyncio.Event | None = None

    async def next(self) -> dict[str, Any] | None:
        """Let the application run until there is a reply; None when there will be no more."""
        import asyncio  # noqa: PLC0415 (already imported by the session)

        if self._news is None:
            self._news = asyncio.Event()
            self._task = asyncio.create_task(self._worker.handle(self._request, self._take))
            self._task.add_done_callback(lambda _: self._wake())
        while not self._replies:
            if self._task is not None and self._task.done():
                self._task.result()
                return None
            self._news.clear()
            await self._news.wait()
        return self._replies.popleft()

    async def close(self) -> None:
        """Stop it, if it still runs."""
        import asyncio  # noqa: PLC0415 (already imported by the session)

        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _take(self, reply: dict[str, Any]) -> None:
        self._replies.append(reply)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
