"""Event stores: one protocol, and the place that opens one by its url.

"memory:" keeps everything in the process. "sqlite:PATH" keeps it in a file, the path counted from the project's root;
"sqlite:PATH?durability=fast" may lose the newest events in a power cut, and no others. "postgresql://..." keeps it in one
schema of a database, see `microlith.event_store.postgres.place`.

Falls back to nothing: a store that cannot be opened is an error.
"""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from microlith.errors import StoreError, nearest
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import EventStore
from microlith.serialization import MessageTypes
from microlith.urls import masked

if TYPE_CHECKING:
    from microlith.event_store.postgres.place import Place

__all__ = ["StoreUrlError", "open_event_store"]

SCHEMES = ("memory", "postgresql", "sqlite")


class StoreUrlError(StoreError):
    """The url of an event store that means nothing."""

    def __init__(self, url: str, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"{masked(url)!r} is not the url of an event store: {problem}.",
            hint=hint
            or 'Write "memory:", "sqlite:PATH", "sqlite:PATH?durability=fast" or "postgresql://HOST/DATABASE".',
        )


class MissingDriverError(StoreError):
    """The driver of a database is not installed."""

    def __init__(self, database: str, extra: str) -> None:
        super().__init__(
            f"The driver for {database} is not installed.", hint=f"Run `pip install 'microlith[{extra}]'`."
        )


def open_event_store(url: str, types: MessageTypes, root: Path) -> EventStore:
    """Build the event store that a url means; `await store.open()` then takes hold of it.

    Args:
        url: "memory:", "sqlite:PATH" or "postgresql://...", see above.
        types: The application's message types.
        root: Folder that a relative path starts from.

    Raises:
        StoreUrlError: The url means nothing.
        MissingDriverError: What its database needs is not installed.
    """
    scheme, colon, rest = url.partition(":")
    path, _, query = rest.partition("?")
    if not colon or scheme not in SCHEMES:
        close = nearest(scheme, SCHEMES)
        raise StoreUrlError(
            url, f"the scheme {scheme!r} is not known", hint=f"Did you mean {close + ':'!r}?" if close else ""
        )
    if scheme == "memory":
        if rest:
            raise StoreUrlError(url, f'nothing may follow "memory:", not {rest!r}')
        return MemoryEventStore(types)
    if scheme == "postgresql":
        return _postgres(url, types)
    return _sqlite(url, path, dict(parse_qsl(query, keep_blank_values=True)), types, root)


def _sqlite(url: str, path: str, options: dict[str, str], types: MessageTypes, root: Path) -> EventStore:
    from microlith.event_store.sqlite import SQLiteEventStore  # noqa: PLC0415 (a driver: loaded when it is chosen)

    if not path:
        raise StoreUrlError(url, "the path is missing")
    durability = options.pop("durability", "durable")
    if "shared" in options:
        raise StoreUrlError(url, "only a PostgreSQL store is shared by several processes")
    if options:
        name = next(iter(options))
        close = nearest(name, ["durability"])
        raise StoreUrlError(url, f"the option {name!r} is not known", hint=f"Did you mean {close!r}?" if close else "")
    if durability == "durable":
        return SQLiteEventStore(root / path, types)
    if durability == "fast":
        return SQLiteEventStore(root / path, types, durability="fast")
    raise StoreUrlError(url, f"the durability {durability!r} is not known")


def _postgres(url: str, types: MessageTypes) -> EventStore:
    place = postgres_place(url)
    from microlith.event_store.postgres import PostgresEventStore  # noqa: PLC0415 (a driver: loaded when it is chosen)

    return PostgresEventStore(place, types)


def postgres_place(url: str) -> "Place":
    """Return the place that the url of a PostgreSQL store names.

    Raises:
        StoreUrlError: The url means nothing.
        MissingDriverError: The driver is not installed.
    """
    try:
        from microlith.event_store.postgres.place import (  # noqa: PLC0415 (a driver: loaded when it is chosen)
            Place,
            PlaceError,
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "psycopg":
            raise
        raise MissingDriverError("PostgreSQL", "postgres") from error
    try:
        return Place.of(url)
    except PlaceError as error:
        raise StoreUrlError(url, str(error), hint=error.hint) from None
