"""Projections inside the event store: the rows, the checkpoint and, if inline, the events change in one commit."""

import hashlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from microlith.envelope import Envelope
from microlith.errors import InjectionError
from microlith.event_store.recorded_event import RecordedEvent
from microlith.event_store.tables import KeyType, RowWriter, TableSpec
from microlith.messages import Event, Message
from microlith.projections.declared import Declared, takes_event
from microlith.projections.read_models import ReadModel, ReadModelError, Table

Fold = TypeVar("Fold", bound=Callable[..., None])


class Projection(Declared):
    """Read models and the functions that fold events into them.

    Attributes:
        component: Name of its component.
        short_name: Its own name; `name` is both, such as "auth.users".
        rows: The row classes it keeps.
        inline: Whether its rows change in the commit of the events; otherwise it follows the log at its own pace.
        events: The event classes it takes.
    """

    def __init__(self, component: str, name: str, rows: Sequence[type[ReadModel]], *, inline: bool = True) -> None:
        if not rows:
            raise ReadModelError(
                f"Projection {component}.{name} keeps no read model.",
                hint="Name one or more row classes; for rows kept elsewhere, see `component.external_projection`.",
            )
        super().__init__(component, name)
        self.rows = tuple(rows)
        self.inline = inline
        self._folds: dict[type[Message], Callable[[RecordedEvent, RowWriter], None]] = {}
        self._specs = {row: _table_spec(f"{component}_{name}", row) for row in rows}

    @property
    def kind(self) -> str:
        """How it follows the events: "inline" or "asynchronous"."""
        return "inline" if self.inline else "asynchronous"

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

    def on(self, *events: type[Event]) -> Callable[[Fold], Fold]:
        """Declare the function that folds events of these types.

        It runs in the transaction that appends them, or in one of its own if the projection is not inline. It may ask for the event, `Table[Row]` of this projection's rows, and `Envelope` (its ids and
        time). Whatever it needs of time or chance it takes from the event, so that a replay gives the same rows.
        """
        return self._declaring(events)

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

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Fold one event into the rows."""
        fold = self._folds.get(type(event.message))
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
        if takes_event(annotation, event):
            return lambda recorded, _: recorded.message
        known = ", ".join(f"Table[{row.__name__}]" for row in self.rows)
        raise InjectionError(
            name,
            parameter,
            annotation or "no annotation",
            hint=f"A projection may ask for {event.__name__}, Envelope, {known}.",
        )


def _table_spec(prefix: str, row: type[ReadModel]) -> TableSpec:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", row.__name__).lower()
    key_type: KeyType = "integer" if row.model_fields[row.__key__].annotation is int else "text"
    return TableSpec(f"{prefix}__{snake}", row.__key__, key_type, row.__indexes__)
