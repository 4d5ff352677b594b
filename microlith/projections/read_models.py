"""Read models: tables of typed rows beside the event log, and how they are written and read."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from microlith.errors import WiringError
from microlith.event_store.protocol import EventStore
from microlith.event_store.tables import Column, Key, RowWriter, TableSpec
from microlith.secrecy import may_hold_secrets, reveal

_MOST = 1_000_000


class ReadModelError(WiringError):
    """A read model or projection that is declared in a way that cannot work."""


class ReadModel(BaseModel):
    """One row of a read model. Subclass it with the name of the key field, and of fields to find rows by.

    `class User(ReadModel, key="user_id", indexes=("email",)): ...`
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    __key__: ClassVar[str] = ""
    __indexes__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, key: str = "", indexes: Sequence[str] = (), **options: Unpack[ConfigDict]) -> None:
        """Take the class keywords `key` and `indexes`; the fields they name are checked once they are known."""
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, *, key: str = "", indexes: Sequence[str] = (), **_: Any) -> None:
        cls.__key__ = key or cls.__key__
        cls.__indexes__ = tuple(indexes) or cls.__indexes__
        fields = cls.model_fields
        if cls.__key__ not in fields:
            raise ReadModelError(
                f"{cls.__name__} has no field {cls.__key__!r} to be its key.",
                hint=f'Write `class {cls.__name__}(ReadModel, key="FIELD")` with one of {", ".join(fields) or "its fields"}.',
            )
        if fields[cls.__key__].annotation not in (str, int):
            raise ReadModelError(
                f"The key of {cls.__name__}, {cls.__key__!r}, is neither str nor int.", hint="Use a str or int field."
            )
        for name in cls.__indexes__:
            if name not in fields:
                raise ReadModelError(f"{cls.__name__} has no field {name!r} to index.", hint="Name fields of the row.")

    if not TYPE_CHECKING:  # a type checker knows that it is frozen

        def __setattr__(self, name: str, value: Any) -> None:
            if name in type(self).model_fields:
                raise ReadModelError(
                    f"A row cannot be changed: {type(self).__name__}.{name} was set.",
                    hint=f'Put a changed copy: `table.put(row.model_copy(update={{"{name}": ...}}))`.',
                )
            super().__setattr__(name, value)


Row = TypeVar("Row", bound=ReadModel)


class _Rows(Generic[Row]):
    """What tables and views share: a row class and the shape of its table."""

    def __init__(self, row: type[Row], spec: TableSpec, rows: Any) -> None:
        self._row = row
        self._spec = spec
        self._rows = rows

    def _load(self, data: bytes) -> Row:
        return self._row.model_validate_json(data)

    def _equal(self, fields: dict[str, Any]) -> dict[str, Column]:
        allowed = (self._spec.key, *self._spec.indexes)
        strange = next((name for name in fields if name not in allowed), None)
        if strange is not None:
            raise ReadModelError(
                f"{self._row.__name__} is not indexed by {strange!r}.",
                hint=f'Add it: `class {self._row.__name__}(ReadModel, key="{self._spec.key}", indexes=("{strange}",))`.',
            )
        return fields


@lru_cache(maxsize=1024)
def _needs_revealing(row: type[ReadModel]) -> bool:
    return may_hold_secrets(row) or "'any'" in str(row.__pydantic_core_schema__)


class Table(_Rows[Row]):
    """The rows of a read model inside a projection: reads and writes, in the transaction of the event."""

    _rows: RowWriter

    def get(self, key: Key) -> Row | None:
        """Return the row of this key, or None."""
        data = self._rows.get(self._spec, key)
        return None if data is None else self._load(data)

    def put(self, row: Row) -> None:
        """Insert a row, or replace the one of the same key."""
        # Looking for secrets costs more than all the rest.
        plain = reveal(row) if _needs_revealing(type(row)) else row.model_dump(mode="json")
        columns = {name: plain[name] for name in self._spec.indexes}
        self._rows.put(self._spec, plain[self._spec.key], to_json(plain), columns)

    def delete(self, key: Key) -> bool:
        """Delete the row of this key; tell whether there was one."""
        return self._rows.delete(self._spec, key)

    def find(self, **fields: Any) -> list[Row]:
        """Return the rows whose key or indexed fields equal the given values, ordered by key."""
        return [self._load(data) for data in self._rows.find(self._spec, self._equal(fields), _MOST)]

    def count(self, **fields: Any) -> int:
        """Count the rows that `find` would return."""
        return self._rows.count(self._spec, self._equal(fields))


class View(_Rows[Row]):
    """The rows of a read model in a handler: read only, always the newest commit."""

    def __init__(self, row: type[Row], spec: TableSpec, store: EventStore) -> None:
        super().__init__(row, spec, store.rows)
        self._look = store.look

    async def get(self, key: Key) -> Row | None:
        """Return the row of this key, or None."""
        data = await self._look(self._rows.get, self._spec, key)
        return None if data is None else self._load(data)

    async def find(self, *, limit: int = 1000, **fields: Any) -> list[Row]:
        """Return up to `limit` rows whose key or indexed fields equal the given values, ordered by key."""
        return await self._found(self._equal(fields), _checked(limit))

    async def all(self, *, limit: int = 1000) -> list[Row]:
        """Return up to `limit` rows, ordered by key."""
        return await self._found({}, _checked(limit))

    async def count(self, **fields: Any) -> int:
        """Count the rows that `find` would return without a limit."""
        return await self._look(self._rows.count, self._spec, self._equal(fields))

    async def _found(self, equal: dict[str, Column], limit: int) -> list[Row]:
        rows: list[bytes] = await self._look(self._rows.find, self._spec, equal, limit)
        return [self._load(data) for data in rows]


def _checked(limit: int) -> int:
    if limit < 0:
        raise ValueError(f"limit is a number of rows, not {limit}.")
    return limit
