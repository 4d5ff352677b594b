"""The event log of a project where nothing runs, in the shape of a session.

Nothing is started: no handler runs, nothing is caught up, and the store's file is not changed. For as long as one
looks, no other process can own the store. Answers the verbs about events, and `verify`.

Runs the user's code as far as importing it goes: only its classes know what is secret.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from microlith.application.carriers import filled_url
from microlith.application.microlith import IN_MEMORY
from microlith.application.wiring import UnknownComponentError
from microlith.errors import MicrolithError
from microlith.event_store.at_rest import inspect_store, keys_at_rest
from microlith.event_store.database.inspecting import Inspection
from microlith.event_store.database.reading import LogReader
from microlith.event_store.protocol import RecordedEvent
from microlith.places import DEFAULT_STORE, store_beside
from microlith.privacy.keys import KeyRing, NoKeys
from microlith.serialization import MessageTypes
from microlith_cli.errors import DONE, NothingRunsError, ToolError, UnknownNameError
from microlith_cli.event_log import asking
from microlith_cli.project import Project, load_app, meant

VERBS = ("events", "event", "verify")


class RestingSession:
    """A session with a log that nobody serves.

    Args:
        project: Whose.
        say: Takes one line for the user; it may hold data.

    Raises:
        NothingRunsError: The store is in memory, so there is nothing to look at.
        UnknownComponentError: The application has none of that name, and none has left a store.
        StoreLockedError: Another process owns the store.
        StoreAwayError: Its database cannot be reached.
        CorruptionError: The end of the log is damaged.
    """

    mode = "resting"

    def __init__(self, project: Project, say: Callable[[str], None]) -> None:
        os.chdir(project.root)  # as under `run`: relative paths mean the same
        self._name, self._types, url, problem = _imported(project)
        if url == IN_MEMORY:
            raise NothingRunsError(
                "No microlith is running, and its store is in memory: there is no event log to look at."
            )
        url = store_beside(url, meant() or None)
        self._inspection = inspect_store(url, project.root)
        if isinstance(problem, UnknownComponentError):
            if self._inspection is None:
                raise problem
            say(f"there is no such component any more, so no payload can be masked and shown: {', '.join(meant())}")
        elif problem is not None:
            say(f"the application does not import, so no payload can be masked and shown: {problem}")
        self._keys = keys_at_rest(url, project.root) if self._types.personal and self._inspection else None
        # Shown are events by the first: every sealed field reads as erased.
        self._rings = (KeyRing(NoKeys()), KeyRing(self._keys or NoKeys())) if self._types.personal else None
        self._log = _Log(self._inspection, self._types)
        self._runner = asyncio.Runner()

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        """Answer, as a running microlith does. Errors are raised, not sent."""
        del patience
        if self._rings is not None:
            self._types.keys = self._rings[bool(request.get("opened") or request.get("copied"))]
        match request["verb"]:
            case "events":
                yield self._runner.run(asking.answer(self._log, self._types, self._name, request))
            case "event":
                yield self._runner.run(asking.answer_one(self._log, self._types, self._name, request))
            case "verify":
                count = 0
                for count in self._inspection.verifying(self._types) if self._inspection else ():
                    yield {"progress": {"done": count, "total": self._log.last + 1}}
                yield {"verified": count, "end": True, "exit": DONE}
            case verb:
                raise UnknownNameError("verb", str(verb), VERBS, see="docs/control-channel.md")

    def close(self) -> None:
        """Let go of the store. Safe to call twice."""
        if self._keys is not None:
            self._keys.close()
        if self._inspection is not None:
            self._inspection.close()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Log:
    """An inspected store, or none, as a log to read."""

    def __init__(self, inspection: Inspection | None, types: MessageTypes) -> None:
        self.last = -1 if inspection is None else inspection.head
        self._reader: LogReader | None = None
        if inspection is not None and self.last >= 0:
            self._reader = inspection.reader(types)

    async def head(self) -> int:
        """Return the last global position."""
        return self.last

    async def read(self, stream: str, *, after: int = -1, limit: int = 500) -> list[RecordedEvent]:
        """Read one stream."""
        return [] if self._reader is None else self._reader.stream(stream, after, limit)

    async def read_all(
        self, *, after: int = -1, limit: int = 500, types: Collection[str] | None = None
    ) -> list[RecordedEvent]:
        """Read the log."""
        return [] if self._reader is None else self._reader.all(after, limit, types)


def _imported(project: Project) -> tuple[str, MessageTypes, str, ToolError | MicrolithError | None]:
    """Import the application; gives its name, its types, where it keeps its events, and why there are no types."""
    configured = project.config.text("store.url") or DEFAULT_STORE
    try:
        app = load_app(project)
        app.wire()
    except (ToolError, MicrolithError) as error:
        return project.name, MessageTypes(), filled_url("store", configured, options=True), error
    return app.name, app.types, app.store_place(), None
