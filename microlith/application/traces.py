"""The trace log of a running application: where it lies, and who writes it."""

from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from microlith.application.tasks import write_trace
from microlith.event_store.protocol import EventStore
from microlith.places import DEFAULT_STORE, store_beside
from microlith.tracing.log import TraceLog
from microlith.tracing.tracer import Tracer

Spawn = Callable[[Coroutine[Any, Any, None], str], Any]


def trace_place(
    chosen: Path | None, store: EventStore, url: str, root: Path, runs: Collection[str] | None = None
) -> Path | None:
    """Return the folder of the trace log: the chosen one, else beside the store, else none.

    Beside a store that is no file: where the default one would be, of a process that runs some components in its own
    place.
    """
    if chosen is not None or store.durability == "memory":
        return chosen
    if not url.startswith("sqlite:"):
        url = store_beside(DEFAULT_STORE, runs)
    return (root / url.partition(":")[2].partition("?")[0]).parent


def follow_into_log(directory: Path | None, tracer: Tracer, spawn: Spawn) -> None:
    """Write all facts from now on into the log, in a task of its own."""
    if directory is not None:
        spawn(write_trace(TraceLog(directory), tracer.follow()), "microlith trace log")
