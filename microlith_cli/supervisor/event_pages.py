"""The verbs about events, asked of a running application."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from microlith import Microlith
from microlith_cli.event_log import asking

Line = dict[str, Any]


async def listed(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Answer with a page of events."""
    return await asking.answer(app.store, app.types, app.name, request)


async def shown(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Answer with one event."""
    return await asking.answer_one(app.store, app.types, app.name, request)


VERBS: dict[str, Callable[[Microlith, Mapping[str, Any]], Awaitable[Line]]] = {"events": listed, "event": shown}
