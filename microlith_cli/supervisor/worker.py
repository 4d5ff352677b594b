"""The worker: one running application, and the answers to what is asked of it.

The same object serves behind the link in a process of its own, and inside the tool when nothing runs,
so that both behave alike. Requests and replies have the form of the control channel.

Knows no sockets and no processes.
"""

import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

from microlith import Microlith
from microlith.errors import ClosedError, MicrolithError, NotRunningError, WaitTimeout
from microlith.tracing.tracer import describe_error
from microlith_cli.errors import DONE, SAID_NO, TIMED_OUT, WRONG_USAGE, ToolError, UnknownNameError, UsageError
from microlith_cli.filtering import compile_filter
from microlith_cli.supervisor import dead_letters, event_pages, examining, leading, schedules
from microlith_cli.supervisor.dispatching import dispatch
from microlith_cli.supervisor.erasing import erased
from microlith_cli.supervisor.idling import idle

logger = logging.getLogger("microlith")

Line = dict[str, Any]
Reply = Callable[[Line], None]

CATALOG = "catalog.json"
_VERBS = ("dispatch", "describe", "follow", "list", "rebuild", "status", "store", "verify")
_ONE_ANSWER = {
    **dead_letters.VERBS,
    **event_pages.VERBS,
    **schedules.VERBS,
    "brokers": examining.brokers,
    "erase": erased,
    "idle": idle,
}
_PROGRESS_SECONDS = 0.05
_WRONG = ("PayloadError", "UnknownTypeError", "AmbiguousTypeError", "WrongBusError", "ScheduleError")


class Worker:
    """Runs an application and answers requests.

    Args:
        app: The application; it is wired or will be by `start`.
        state: The project's own folder, for the catalog that shell completion reads; None: write none.
        spans: Where spans of its messages go; empty: nowhere that is known here.
        imports: How long its modules took to be imported, as `ImportTimes.told` says it; None: nobody knows.
    """

    def __init__(
        self, app: Microlith, *, state: Path | None = None, spans: str = "", imports: Line | None = None
    ) -> None:
        self._app = app
        self._imports = imports
        self._spans = spans
        self._state = state
        self._stopping = False
        self._generation = 1
        self._catalog: Line | None = None

    async def start(self, generation: int = 1) -> None:
        """Open the store and serve.

        Raises:
            MicrolithError: The application does not start.
        """
        self._generation = generation
        await self._app.start()

    async def stop(self, drain: float = 10.0, *, finish_queues: bool = True) -> int:
        """Take no more messages, finish what is under way, close the store.

        Args:
            drain: Seconds to wait for handlers.
            finish_queues: Also handle what waits in queues. A durable store carries it on otherwise.

        Returns:
            How many messages were left unfinished.
        """
        self._stopping = True
        return await self._app.stop(drain, finish_queues=finish_queues)

    async def facts(self) -> AsyncIterator[list[Line]]:
        """Yield trace facts as they come, until the application stops."""
        follower = self._app.tracer.follow()
        try:
            async for facts in follower:
                yield facts
            if last := follower.take():
                yield last
        finally:
            follower.close()

    async def handle(self, request: Line, reply: Reply) -> None:
        """Answer one request. Never raises: what goes wrong is an answer too.

        A last line {"again": true} means that the application stopped meanwhile: its successor must be asked.
        """
        number = request.get("id")

        def answer(line: Line) -> None:
            reply({"id": number, **line})

        try:
            one_answer = _ONE_ANSWER.get(str(request.get("verb")))
            answer(await (one_answer(self._app, request) if one_answer else self._answer(request, answer)))
        except (ClosedError, NotRunningError) as error:
            answer({"end": True, "again": True} if self._stopping else refusal(error))
        except (MicrolithError, ToolError) as error:
            answer(refusal(error))
        except Exception as error:  # without an answer the client would wait for ever
            logger.exception("A request failed inside microlith.")
            answer(refusal(error))

    async def _answer(self, request: Line, reply: Reply) -> Line:
        """Do what a request asks; returns the last line."""
        match request.get("verb"):
            case "dispatch":
                return await dispatch(self._app, request, reply)
            case "describe" | "list" | "status" as verb:
                return {**self._known(verb, request), "end": True, "exit": DONE}
            case "follow":
                return await self._follow(request.get("filter", ""), reply)
            case "rebuild":
                return await self._rebuild(request.get("projections"), reply)
            case "store":
                return await examining.standing(self._app)
            case "verify":
                return await examining.verified(self._app, request, reply)
            case verb:
                known = (*_VERBS, *_ONE_ANSWER)
                raise UnknownNameError("verb", str(verb)[:40], known, see="docs/cli.md")

    def _known(self, verb: str, request: Line) -> Line:
        """Answer what is known without asking anybody."""
        if verb == "describe":
            return {"message": self._describe(request.get("type"))}
        if verb == "list":
            return {"catalog": self.catalog()}
        return {"status": {**self.card(), "generation": self._generation}}

    def card(self) -> Line:
        """Say in a few facts what serves: components, handlers, what nobody handles, how durable it is."""
        catalog = self.catalog()
        handlers = [handler["kind"] for handler in self._own("handlers")]
        return {
            "app": catalog["app"],
            "components": catalog["runs"],
            "messages": len(catalog["messages"]),
            "handlers": {kind: handlers.count(kind) for kind in ("command", "query", "event")},
            "projections": len(self._own("projections")),
            "unhandled": [
                message["type"]
                for message in catalog["messages"]
                if message["kind"] in {"command", "query"} and not message["handlers"]
            ],
            "buses": self._app.connections().places,
            "durability": self._app.store.durability,
            "engine": self._app.store.engine,
            "shared": leading.shares(self._app),
            "leads": self._app.store.leads,
            "spans": self._spans,
            **({"imports": self._imports} if self._imports else {}),
        }

    async def watch_lead(self, last: bool, tell: Reply) -> None:
        """Tell whenever this process takes the lead of its store, or loses it, as {"leads": ...}, until that writes no more."""
        await leading.watch(self._app, last, lambda leads: tell({"leads": leads}))

    def catalog(self) -> Line:
        """Describe the application, as `Microlith.catalog` does; made once."""
        if self._catalog is None:
            self._catalog = self._app.catalog()
        return self._catalog

    def _own(self, section: str) -> list[Line]:
        """What of a section of the catalog runs in this process."""
        catalog = self.catalog()
        return [row for row in catalog[section] if row["name"].partition(".")[0] in catalog["runs"]]

    def write_catalog(self) -> None:
        """Put the catalog where shell completion finds it. A reader sees the old one or the new one."""
        if self._state is None:
            return
        unfinished = self._state / f"{CATALOG}.{os.getpid()}"
        try:
            unfinished.write_text(json.dumps(self.catalog(), ensure_ascii=False), "utf-8")
            unfinished.replace(self._state / CATALOG)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            logger.warning("The catalog for shell completion was not written: %s", error)

    def _describe(self, name: object) -> Line:
        if not isinstance(name, str):
            raise UsageError("A description needs the `type` of a message.")
        wanted = self._app.types.shown(self._app.types.find(name))
        return next(message for message in self.catalog()["messages"] if message["type"] == wanted)

    async def _follow(self, asked: object, reply: Reply) -> Line:
        if not isinstance(asked, str):
            raise UsageError("A filter is a text, such as 'type:Login* status:failed'.")
        passes = compile_filter(asked)
        async for facts in self.facts():
            for fact in facts:
                if passes(fact):
                    reply({"fact": fact})
        return {"end": True, "exit": DONE}

    async def _rebuild(self, asked: object, reply: Reply) -> Line:
        """Rebuild projections one after the other. Interrupted at any point, the old rows keep serving."""
        known = [projection["name"] for projection in self._own("projections")]
        names = known if asked is None else asked
        if not isinstance(names, list):
            raise UsageError("`projections` is a list of names, or null for all.")
        for name in names:
            if name not in known:
                raise UnknownNameError("projection", str(name), known, see="microlith list")
        await leading.check_leads(self._app.store, "Building a projection anew")
        rebuilt = []
        for name in dict.fromkeys(names):
            result = await self._app.rebuild(name, _Progress(name, reply))
            rebuilt.append(
                {
                    "projection": name,
                    "events": result.events,
                    "ms": round(result.seconds * 1000, 1),
                    "before": result.before or None,
                    "after": result.after or None,
                }
            )
        return {"rebuilt": rebuilt, "end": True, "exit": DONE}


class _Progress:
    """Passes progress on, some twenty times a second."""

    def __init__(self, projection: str, reply: Reply) -> None:
        self._projection = projection
        self._reply = reply
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` events have been read."""
        now = monotonic()
        if done >= total or now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self._reply({"progress": {"projection": self._projection, "done": done, "total": total}})


def refusal(error: Exception) -> Line:
    """Turn an error into the last line of an answer."""
    if isinstance(error, ToolError):
        return {"end": True, "exit": error.exit, "error": error.as_dict()}
    shown: Line = {"type": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}
    line: Line = {"end": True, "exit": SAID_NO, "error": shown}
    if problems := getattr(error, "problems", None):
        shown["problems"] = list(problems)
    if error.__cause__ is not None:
        place = describe_error(error.__cause__)
        shown |= {name: place[name] for name in ("file", "line", "source") if name in place}
    if isinstance(error, WaitTimeout):
        line |= {"exit": TIMED_OUT, "report": error.report}
    elif any(cls.__name__ in _WRONG for cls in type(error).__mro__):
        line["exit"] = WRONG_USAGE
    return line
