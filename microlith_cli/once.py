"""The once mode: the project's application in this very process, for one client, without a socket.

The same worker answers as under `run`, so both behave alike. Between two replies the application stands still.

Writes nothing: what the runtime logs is handed to whoever opened the session.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

from microlith.errors import HandlerFailedError, MicrolithError
from microlith_cli.control.claiming import claim
from microlith_cli.errors import NothingRunsError
from microlith_cli.project import Project, load_app
from microlith_cli.supervisor.leading import shares
from microlith_cli.supervisor.spans import add_spans
from microlith_cli.supervisor.worker import Worker

DRAIN_SECONDS = 10.0  # for handlers to finish, at the end
_STOOD_STILL = "The event loop was blocked"
CATCH_UP_SECONDS = 2.0  # for projections that follow the log: nobody else gives them time before a question
SPANS_SECONDS = 2.0  # for a receiver to take the last spans
INTERRUPTED_SECONDS = 0.5  # the same, for somebody who wants to go


class LocalSession:
    """A session with an application that was started for it.

    Args:
        project: Whose application.
        say: Takes what the runtime logs, one line each; it may hold data.
        sends_scheduled: Whether scheduled messages that are due are sent.

    Raises:
        AppLoadError: It does not import.
        MicrolithError: It does not start.
        TooManyProcessesError: Its store is shared, by as many as may.
    """

    mode = "once"

    def __init__(self, project: Project, say: Callable[[str], None], *, sends_scheduled: bool = True) -> None:
        os.chdir(project.root)  # as under `run`: relative paths mean the same
        self._last = 0
        self._log = _Log(say)
        app = load_app(project)
        self._lock: int | None = None
        if shares(app):  # beside others it needs a trace log of its own; otherwise the store says that they run
            numbered, self._lock = claim(project)
            app.trace_directory = numbered.state
        app.sends_scheduled = sends_scheduled
        self._spans = add_spans(app, project)
        self._app = app
        self._worker = Worker(app)
        self._following: asyncio.Task[None] | None = None
        self._runner: asyncio.Runner | None = asyncio.Runner()
        logging.getLogger("microlith").addHandler(self._log)
        try:
            self._runner.run(self._worker.start())
        except BaseException:
            self._end(self._runner)
            raise

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        """Ask, and yield every reply as it comes; the last has `end`. `patience` is not needed here."""
        del patience
        self._last += 1
        self._log.tells_failures = not request.get("trace")
        return self._replies({"id": self._last, **request})

    def requests(
        self, requests: Iterable[Mapping[str, Any]], *, at_once: int, patience: float | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ask many things, some at a time; yield every reply with the number of its request, from 0."""
        del patience
        self._log.tells_failures = False
        many = _Many(self._worker, enumerate(requests), at_once)
        try:
            if self._runner is not None:
                self._runner.run(self._catch_up())
            while self._runner is not None:
                replies = self._runner.run(many.next())
                if not replies:
                    return
                yield from replies
        finally:
            if self._runner is not None:
                self._runner.run(many.close())

    def follow(self, asked: str, take: Callable[[dict[str, Any]], None]) -> None:
        """Give every fact that passes a filter to `take`, whenever the application runs, instead of those before."""
        if self._runner is not None:
            self._runner.run(self._follow(asked, take))

    async def _follow(self, asked: str, take: Callable[[dict[str, Any]], None]) -> None:
        if self._following is not None:
            self._following.cancel()
        self._following = asyncio.create_task(self._worker.handle({"verb": "follow", "filter": asked}, take))

    async def _catch_up(self) -> None:
        """Give projections that follow the log the time that they have beside a running application."""
        deadline = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
        with suppress(MicrolithError):  # a store that cannot be read says so when it is asked
            while any(one.behind and one.error is None for one in await self._app.projections()):
                if asyncio.get_running_loop().time() > deadline:
                    return
                await asyncio.sleep(0.002)

    def idle(self, descriptors: Iterable[int]) -> None:
        """Let the application run until one of some descriptors can be read."""
        if self._runner is not None:
            self._runner.run(_readable(descriptors))

    def close(self, drain: float = DRAIN_SECONDS) -> None:
        """Stop the application; handlers get some seconds to finish. Safe to call twice."""
        if self._runner is not None:
            try:
                self._runner.run(self._worker.stop(drain))
            finally:
                self._end(self._runner)
                if self._spans is not None:
                    self._spans.telemetry.shutdown(SPANS_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(INTERRUPTED_SECONDS if kind is not None and issubclass(kind, KeyboardInterrupt) else DRAIN_SECONDS)

    def _end(self, runner: asyncio.Runner) -> None:
        self._runner = None
        runner.close()
        if self._lock is not None:
            os.close(self._lock)
        logging.getLogger("microlith").removeHandler(self._log)

    def _replies(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        exchange = _Exchange(self._worker, request)
        ended = False
        try:
            if self._runner is not None:
                self._runner.run(self._catch_up())
            while not ended:
                if self._runner is None:
                    raise NothingRunsError("This session is closed.", hint="Open another one.")
                reply = self._runner.run(exchange.next())
                if reply is None:
                    return
                ended = bool(reply.get("end"))
                yield reply
        finally:
            if self._runner is not None:  # otherwise it went with the loop
                self._runner.run(exchange.close())


async def _readable(descriptors: Iterable[int]) -> None:
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    watched = list(descriptors)
    for descriptor in watched:
        loop.add_reader(descriptor, news.set)
    try:
        await news.wait()
    finally:
        for descriptor in watched:
            loop.remove_reader(descriptor)


class _Exchange:
    """One request on its way through a worker: a task, and the replies it has made so far."""

    def __init__(self, worker: Worker, request: dict[str, Any]) -> None:
        self._worker = worker
        self._request = request
        self._replies: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def next(self) -> dict[str, Any] | None:
        """Let the application run until there is a reply; None when there will be no more."""
        if self._task is None:
            self._task = asyncio.create_task(self._worker.handle(self._request, self._take))
            self._task.add_done_callback(lambda _: self._news.set())
        while not self._replies:
            if self._task.done():
                self._task.result()
                return None
            self._news.clear()
            await self._news.wait()
        return self._replies.popleft()

    async def close(self) -> None:
        """Stop it, if it still runs."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _take(self, reply: dict[str, Any]) -> None:
        self._replies.append(reply)
        self._news.set()


class _Many:
    """Many requests on their way through a worker, some at a time."""

    def __init__(self, worker: Worker, requests: Iterator[tuple[int, Mapping[str, Any]]], at_once: int) -> None:
        self._worker = worker
        self._requests = requests
        self._at_once = at_once
        self._replies: list[tuple[int, dict[str, Any]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def next(self) -> list[tuple[int, dict[str, Any]]]:
        """Let the application run until there are replies; none when there will be no more."""
        while True:
            for number, request in islice(self._requests, self._at_once - len(self._tasks)):
                answering = self._worker.handle({"id": number + 1, **request}, partial(self._take, number))
                task = asyncio.create_task(answering)
                self._tasks.add(task)
            if not self._tasks:
                break
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._replies:
                break
        replies, self._replies = self._replies, []
        return replies

    def _take(self, number: int, reply: dict[str, Any]) -> None:
        self._replies.append((number, reply))

    async def close(self) -> None:
        """Stop those that still run."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Log(logging.Handler):
    """Hands on what the runtime logs.

    Attributes:
        tells_failures: Whether that a handler failed is told; who follows the facts knows it already.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.tells_failures = True
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        args = record.args if isinstance(record.args, tuple) else ()
        if str(record.msg).startswith(_STOOD_STILL) and not any(arg for arg in args if isinstance(arg, str)):
            return  # no handler did it: the loop stands still while nobody asks
        failure = any(isinstance(arg, HandlerFailedError) for arg in args)
        if self.tells_failures or not failure:
            self._say(f"{record.levelname.lower()} {record.getMessage()}")
