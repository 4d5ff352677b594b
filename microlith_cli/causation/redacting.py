"""Redaction: what of a trace may leave the house.

Secrets are masked before a fact is written; what is left may still be a person's. Types, handlers, times and
outcomes stay at every level: they are what a trace is read for.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from microlith_cli.causation import HANDLED, Fact

Level = Literal["none", "values", "all"]
LEVELS: tuple[Level, ...] = ("none", "values", "all")
"""`none` keeps what the trace log holds; `values` puts a word for each value; `all` leaves payloads and error texts out."""

_KEPT_OF_ERRORS = ("type", "file", "line")


def redactor(level: Level) -> Callable[[Fact], dict[str, Any]]:
    """Return what redacts one fact after the other. Equal values of one trace get the same word."""
    words: dict[tuple[type, Any], str] = {}

    def redact(fact: Fact) -> dict[str, Any]:
        if level == "none" or "data" not in fact:
            return dict(fact)
        data = fact["data"]
        if fact.get("type") == HANDLED and isinstance(data, Mapping):
            return {**fact, "data": _handled(data)}
        return {**fact, "data": {} if level == "all" else _worded(data, words)}

    return redact


def _handled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what happened, and of an error where and what kind: its text and its source line may quote a value."""
    error = data.get("error")
    if not isinstance(error, Mapping):
        return dict(data)
    return {**data, "error": {key: error[key] for key in _KEPT_OF_ERRORS if key in error}}


def _worded(data: Any, words: dict[tuple[type, Any], str]) -> Any:
    """Put a word for each value, such as "text 1". Payloads are at most 64 deep."""
    if isinstance(data, Mapping):
        return {key: _worded(value, words) for key, value in data.items()}
    if isinstance(data, list):
        return [_worded(value, words) for value in data]
    if data is None or isinstance(data, bool) or data == "***":
        return data
    kind = "text" if isinstance(data, str) else "number"
    return words.setdefault((type(data), data), f"{kind} {len(words) + 1}")
