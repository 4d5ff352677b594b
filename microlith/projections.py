"""Projections: fold events into read models.

A read model is a table of typed rows beside the event log, so that the rows, the checkpoint and
the events change in one commit. A projection is pure: it sees an event and its tables, and sends
nothing; that is why it can be replayed at any time.
"""

import hashlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from microlith.envelope import Envelope
from microlith.errors import InjectionError, WiringError
from microlith.event_store.protocol import Column, Key, KeyType, RecordedEvent, RowReader, RowWriter, TableSpec
from microlith.messages import Event, stored_names
from microlith.serialization import reveal

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


class Table(_Rows[Row]):
    """The rows of a read model inside a projection: reads and writes, in the transaction of the event."""

    _rows: RowWriter

    def get(self, key: Key) -> Row | None:
        """Return the row of this key, or None."""
        data = self._rows.get(self._spec, key)
        return None if data is None else self._load(data)

    def put(self, row: Row) -> None:
        """Insert a row, or replace the one of the same key."""
        plain = reveal(row)
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

    _rows: RowReader

    async def get(self, key: Key) -> Row | None:
        """Return the row of this key, or None."""
        data = self._rows.get(self._spec, key)
        return None if data is None else self._load(data)

    async def find(self, *, limit: int = 1000, **fields: Any) -> list[Row]:
        """Return up to `limit` rows whose key or indexed fields equal the given values, ordered by key."""
        return [self._load(data) for data in self._rows.find(self._spec, self._equal(fields), _checked(limit))]

    async def all(self, *, limit: int = 1000) -> list[Row]:
        """Return up to `limit` rows, ordered by key."""
        return [self._load(data) for data in self._rows.find(self._spec, {}, _checked(limit))]

    async def count(self, **fields: Any) -> int:
        """Count the rows that `find` would return without a limit."""
        return self._rows.count(self._spec, self._equal(fields))


def _checked(limit: int) -> int:
    if limit < 0:
        raise ValueError(f"limit is a number of rows, not {limit}.")
    return limit


Fold = TypeVar("Fold", bound=Callable[..., None])


class Projection:
    """Read models and the functions that fold events into them.

    Attributes:
        component: Name of its component.
        short_name: Its own name; `name` is both, such as "auth.users".
        rows: The row classes it keeps.
        events: The event classes it takes.
    """

    def __init__(self, component: str, name: str, rows: Sequence[type[ReadModel]]) -> None:
        if not rows:
            raise ReadModelError(
                f"Projection {component}.{name} keeps no read model.", hint="Name one or more row classes."
            )
        self.component = component
        self.short_name = name
        self.rows = tuple(rows)
        self.events: list[type[Event]] = []
        self._folds: dict[type[Event], Callable[[RecordedEvent, RowWriter], None]] = {}
        self._names: dict[str, type[Event]] = {}
        self._functions: dict[type[Event], Callable[..., None]] = {}
        self._specs = {row: _table_spec(f"{component}_{name}", row) for row in rows}

    @property
    def name(self) -> str:
        """Component and own name, such as "auth.users"."""
        return f"{self.component}.{self.short_name}"

    @property
    def tables(self) -> Sequence[TableSpec]:
        """The tables it writes."""
        return list(self._specs.values())

    @property
    def fingerprint(self) -> str:
        """Changes when a row's fields, its key or indexes, or the events it takes change."""
        shape = [[row.model_json_schema(), row.__key__, row.__indexes__] for row in self.rows]
        text = json.dumps([shape, sorted(event.__name__ for event in self.events)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def place(self) -> tuple[str, int]:
        """File and line of its first function."""
        for function in self._functions.values():
            return function.__code__.co_filename, function.__code__.co_firstlineno
        return "?", 0

    def on(self, *events: type[Event]) -> Callable[[Fold], Fold]:
        """Declare the function that folds events of these types. It runs in the transaction that appends them.

        It may ask for the event, `Table[Row]` of this projection's rows, and `Envelope` (its ids and
        time). Whatever it needs of time or chance it takes from the event, so that a replay gives the same rows.
        """

        def declare(function: Fold) -> Fold:
            for event in events:
                if event in self._functions:
                    raise ReadModelError(
                        f"Projection {self.name} folds {event.__name__} twice.",
                        hint="Keep one function for each event.",
                    )
                self.events.append(event)
                self._functions[event] = function
                self._names.update(dict.fromkeys(stored_names(event), event))
            return function

        return declare

    def wire(self) -> None:
        """Check the functions and plan their calls.

        Raises:
            InjectionError: A parameter that cannot be filled.
        """
        for event, function in self._functions.items():
            self._folds[event] = self._plan(event, function)

    def spec_of(self, row: type[ReadModel]) -> TableSpec | None:
        """Return the table of a row class, or None when this projection does not keep it."""
        return self._specs.get(row)

    def takes(self, event: RecordedEvent) -> bool:
        """Tell, without decoding, whether there is a function for this event."""
        return event.type in self._names

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Fold one event into the rows."""
        fold = self._folds.get(type(event.message))  # type: ignore[arg-type]
        if fold is not None:
            fold(event, rows)

    def _plan(self, event: type[Event], function: Callable[..., None]) -> Callable[[RecordedEvent, RowWriter], None]:
        name = f"{self.name}.{function.__name__}"
        if inspect.iscoroutinefunction(function):
            raise ReadModelError(
                f"{name} is `async def`.", hint="A projection runs inside a transaction: write it as a plain `def`."
            )
        hints = typing.get_type_hints(function)
        fillers: dict[str, Callable[[RecordedEvent, RowWriter], Any]] = {}
        for parameter in inspect.signature(function).parameters:
            fillers[parameter] = self._filler(name, parameter, hints.get(parameter), event)
        return lambda recorded, rows: function(**{key: fill(recorded, rows) for key, fill in fillers.items()})

    def _filler(
        self, name: str, parameter: str, annotation: Any, event: type[Event]
    ) -> Callable[[RecordedEvent, RowWriter], Any]:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if annotation is Envelope or origin is Envelope:
            return lambda recorded, _: recorded.envelope
        if origin is Table and arguments[0] in self._specs:
            row, spec = arguments[0], self._specs[arguments[0]]
            return lambda _, rows: Table(row, spec, rows)
        if _takes_event(annotation, event):
            return lambda recorded, _: recorded.message
        known = ", ".join(f"Table[{row.__name__}]" for row in self.rows)
        raise InjectionError(
            name,
            parameter,
            annotation or "no annotation",
            hint=f"A projection may ask for {event.__name__}, Envelope, {known}.",
        )


def _takes_event(annotation: Any, event: type[Event]) -> bool:
    members = typing.get_args(annotation) or (annotation,)
    return any(isinstance(member, type) and issubclass(event, member) for member in members)


def _table_spec(prefix: str, row: type[ReadModel]) -> TableSpec:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", row.__name__).lower()
    key_type: KeyType = "integer" if row.model_fields[row.__key__].annotation is int else "text"
    return TableSpec(f"{prefix}__{snake}", row.__key__, key_type, row.__indexes__)
