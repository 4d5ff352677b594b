"""Whether a value fits its field, as far as the schema tells; the rest is the business of the microlith that gets it."""

import re
from collections.abc import Callable
from datetime import date, datetime, time
from operator import ge, gt, le, lt
from typing import Any
from uuid import UUID

from microlith_cli.schema import KINDS, Field, Node, kinds_of, measured


def misfit(field: Field, value: Any) -> str | None:
    """Say what is wrong with a value that is of one of the types of its field; None when nothing is known to be."""
    kind = "array" if isinstance(value, list) else KINDS.get(type(value), "object")
    kinds = {kind, "number"} if kind == "integer" else {kind}
    problems = [_unmet(node, value) for node in field.alternatives if kinds.intersection(kinds_of(node))]
    return None if None in problems else next(iter(problems), None)


def doubt(field: Field, value: Any) -> str | None:
    """Say what the application will likely refuse in a value that has the right type; None when nothing is known."""
    for node in field.alternatives:
        said, reads = _FORMATS.get(str(node.get("format")), ("", str))
        if said and isinstance(value, str) and not _is_read(value, reads):
            return said
    return None


def _is_read(text: str, reads: Callable[[str], Any]) -> bool:
    try:
        reads(text)
    except ValueError:
        return False
    return True


def _unmet(node: Node, value: Any) -> str | None:
    for key, (said, size_of, meets) in _CHECKS.items():
        if key in node and (size := size_of(value)) is not None and not meets(size, node[key]):
            return measured(said, node[key])
    return None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str | list) else None


def _matches(text: str, pattern: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # written in another dialect
        return True


_CHECKS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, Any], bool]]] = {
    "minimum": ("must be at least {}", _number, ge),
    "exclusiveMinimum": ("must be more than {}", _number, gt),
    "maximum": ("must be at most {}", _number, le),
    "exclusiveMaximum": ("must be less than {}", _number, lt),
    "minLength": ("must have at least {} characters", _length, ge),
    "maxLength": ("must have at most {} characters", _length, le),
    "pattern": ("must match {}", _text, _matches),
    "minItems": ("must have at least {} items", _length, ge),
    "maxItems": ("must have at most {} items", _length, le),
}
"""Of each constraint: what is said when it is not met, what of the value it is about, and the check."""

_FORMATS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "date": ("is no date such as 2026-01-31", date.fromisoformat),
    "date-time": ("is no moment such as 2026-01-31T12:00:00Z", datetime.fromisoformat),
    "time": ("is no time such as 12:00:00", time.fromisoformat),
    "uuid": ("is no UUID", UUID),
}
"""Of each format that is looked at: what is said of what cannot be read, and what reads it. The application may read more."""
