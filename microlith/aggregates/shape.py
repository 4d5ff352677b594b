"""The shape of a state: writes it as a snapshot's bytes, and reads it back.

A state is only written if reading gives the very same: what JSON or the class does not keep, such as a private
attribute, must not get lost in a snapshot.

Stores nothing.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import CodeType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from microlith.messages import Event
from microlith.secrecy import in_clear

S = TypeVar("S")


class StateShape(Generic[S]):
    """How the state of one kind of stream is written.

    Attributes:
        every: Events after which a new snapshot is due.
        fingerprint: Changes with the fields of the state, with the events it evolves by and their versions, with the
            functions that fold them, and with the upcasters those are read through; not with what those call elsewhere.
    """

    def __init__(
        self, state: type[S], every: int, events: Sequence[type[Event]], folding: Sequence[Callable[..., Any]]
    ) -> None:
        """Read the shape.

        Raises:
            PydanticUserError: The state is of a type that cannot be written as JSON.
        """
        self.every = every
        self._adapter: TypeAdapter[S] = TypeAdapter(state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default that is no JSON is left out of the schema
            schema = self._adapter.json_schema(mode="serialization")
        versions = sorted((event.__name__, event.__version__) for event in events)
        self._told: list[Any] = [schema, versions, _bodies(folding)]
        self.fingerprint = _fingerprint(self._told)

    def read_through(self, upcasters: Sequence[Callable[..., Any]]) -> None:
        """Take in what old events are read through: a state that was folded through other upcasters is another one."""
        self.fingerprint = _fingerprint([*self._told, _bodies(upcasters)] if upcasters else self._told)

    def write(self, state: S) -> bytes | None:
        """Write a state; None when it would not come back as it is."""
        try:
            data = to_json(in_clear(state, self._adapter.dump_python(state, mode="json", warnings=False)))
            return data if _same(self.read(data), state) else None
        except (ValueError, TypeError, AttributeError, PydanticUserError):
            return None

    def read(self, data: bytes) -> S:
        """Read a state.

        Raises:
            ValueError: It does not fit.
        """
        return self._adapter.validate_json(data)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two states are equal in values and types: a defaultdict equals a dict, and folds differently."""
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseModel):
        private = one.__pydantic_private__ or {}, other.__pydantic_private__ or {}
        return _same(one.__dict__, other.__dict__) and _same(*private)
    if is_dataclass(one):
        return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, Mapping):
        # In order: whoever takes the first of them must find the same.
        return len(one) == len(other) and all(map(_same, _flat(one.items()), _flat(other.items())))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _flat(pairs: Iterable[tuple[Any, Any]]) -> Iterable[Any]:
    return (value for pair in pairs for value in pair)


def _fingerprint(told: list[Any]) -> str:
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _bodies(functions: Iterable[Callable[..., Any]]) -> list[Any]:
    return [_told(function.__code__) for function in functions if hasattr(function, "__code__")]


def _told(code: CodeType) -> list[Any]:
    """Tell what a function does, in words that do not depend on the process or on where the function stands."""
    constants = [_told(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
