"""A store that nothing runs on, by its url: to be looked into, and changed in nothing.

Opens what is there and makes nothing.
"""

from pathlib import Path

from microlith.event_store import postgres_place
from microlith.event_store.database.inspecting import Inspection
from microlith.event_store.database.keys import KeysAtRest


class _NoKeysAtRest(KeysAtRest):
    def close(self) -> None:
        """There is nothing to let go of."""

    def _find(self, name: str, key_id: bytes) -> list[tuple[bytes, ...]]:
        del name, key_id
        return []


def file_of(url: str, root: Path) -> Path | None:
    """Return the file that a store's url names; None when it names none."""
    scheme, _, rest = url.partition(":")
    name = rest.partition("?")[0]
    return root / name if scheme == "sqlite" and name else None


def inspect_store(url: str, root: Path) -> Inspection | None:
    """Look into a store, and hold it meanwhile; None where none has been made, or where it is in memory.

    Raises:
        StoreError: It cannot be looked into; says why, such as that another process owns it, or that its database is away.
    """
    if url.startswith("postgresql:"):
        place = postgres_place(url)
        from microlith.event_store.postgres.inspecting import PostgresInspection  # noqa: PLC0415 (a driver)

        inspection = PostgresInspection(place)
        if inspection.is_there:
            return inspection
        inspection.close()
        return None
    path = file_of(url, root)
    if path is None or not path.exists():
        return None
    from microlith.event_store.sqlite.inspecting import SQLiteInspection  # noqa: PLC0415 (a driver)

    return SQLiteInspection(path)


def keys_at_rest(url: str, root: Path) -> KeysAtRest:
    """Return the keys of a store that somebody looks into, only read.

    Raises:
        StoreError: They cannot be read; says why.
    """
    if url.startswith("postgresql:"):
        place = postgres_place(url)
        from microlith.event_store.postgres.keys import PostgresKeysAtRest  # noqa: PLC0415 (a driver)

        return PostgresKeysAtRest(place)
    path = file_of(url, root)
    if path is None:
        return _NoKeysAtRest()
    from microlith.event_store.sqlite.keys import SQLiteKeysAtRest  # noqa: PLC0415 (a driver)

    return SQLiteKeysAtRest(path)
