"""The catalog: what an application consists of, as plain data for tools."""

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic import PydanticSchemaGenerationError, PydanticUserError

from microlith.application.wiring import Wiring
from microlith.messages import Query, response_type
from microlith.middleware import Middleware
from microlith.payloads import is_secret_name
from microlith.processes import ProcessType
from microlith.serialization import MessageType, Upcaster

_HOOKS = ("dispatching", "handling", "retrying", "settled")


def describe(name: str, wiring: Wiring, middleware: Sequence[Middleware] = ()) -> dict[str, Any]:
    """Describe an application: components, messages with their schemas, handlers, projections, middleware. Ready for JSON.

    It is the whole one, whatever runs in this process: `runs` names the components that do.
    """
    return {
        "app": name,
        "components": [component.name for component in wiring.components],
        "runs": [component.name for component in wiring.running],
        "messages": [_message(entry, wiring) for entry in wiring.types],
        "handlers": [
            {
                "name": spec.name,
                "message": wiring.types.shown(wiring.types.of(message)),
                "kind": message.__kind__,
                "emits": [wiring.types.shown(wiring.types.of(cls)) for cls in spec.emits(message)],
                "file": spec.file,
                "line": spec.line_for(message),
                "concurrency": spec.concurrency,
            }
            for component in wiring.components
            for spec in component.handlers
            for message in spec.messages
        ],
        "projections": [
            {
                "name": projection.name,
                "kind": projection.kind,
                "events": [wiring.types.shown(wiring.types.of(event)) for event in projection.events],
                "tables": [row.__name__ for row in projection.rows],
                "file": projection.place[0],
                "line": projection.place[1],
            }
            for component in wiring.components
            for projection in component.projections
        ],
        "processes": [
            _process(f"{component.name}.{process.name}", process, wiring)
            for component in wiring.components
            for process in component.processes
        ],
        "middleware": [_middleware(one) for one in middleware],
    }


def _middleware(one: Middleware) -> dict[str, Any]:
    """Describe a middleware: its class, and which of its hooks do something."""
    cls = type(one)
    hooks = [hook for hook in _HOOKS if getattr(cls, hook) is not getattr(Middleware, hook)]
    return {"name": cls.__name__, "module": cls.__module__, "hooks": hooks}


def _process(name: str, process: ProcessType, wiring: Wiring) -> dict[str, Any]:
    def shown(*, starts: bool) -> list[str]:
        taken = [event for event, taking in process.takes.items() if taking.starts == starts]
        return [wiring.types.shown(wiring.types.of(event)) for event in taken]

    file, line = process.place
    return {
        "name": name,
        "key": process.cls.__key__ or None,
        "starts": shown(starts=True),
        "continues": shown(starts=False),
        "step": wiring.types.shown(wiring.types.of(process.step)),
        "file": file,
        "line": line,
    }


def _message(entry: MessageType, wiring: Wiring) -> dict[str, Any]:
    cls = entry.cls
    answer = response_type(cls) if issubclass(cls, Query) else None
    try:
        schema = cls.model_json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):
        schema = {"type": "object", "additionalProperties": True}
    properties = schema.get("properties", {})
    described: dict[str, Any] = {
        "type": wiring.types.shown(entry),
        "component": entry.component,
        "kind": entry.kind,
        "doc": inspect.cleandoc(cls.__doc__ or ""),
        "schema": schema,
        "handlers": [spec.name for one in wiring.components for spec in one.handlers if cls in spec.messages],
        "emitted_by": wiring.emits.get(cls, []),
        "secrets": [name for name in properties if properties[name].get("writeOnly") or is_secret_name(name)],
        "module": cls.__module__,
        "version": entry.version,
        "formerly": list(cls.__formerly__),
        "upcasters": [_upcaster(version, function) for version, function in sorted(entry.upcasters.items())],
    }
    if answer is not None:
        described["response"] = wiring.types.shown(wiring.types.of(answer))
    return described


def _upcaster(version: int, function: Upcaster) -> dict[str, Any]:
    """Describe what turns the data of one version into that of the next."""
    written = inspect.unwrap(function)
    code = getattr(written, "__code__", None)
    place = {"file": code.co_filename, "line": code.co_firstlineno} if code else {}
    return {"version": version, "name": getattr(written, "__qualname__", type(written).__name__), **place}
