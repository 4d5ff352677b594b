"""Flags for the fields of a message: `--email`, `--address.city`, `--tag a --tag b`, `--no-active`.

The schema says which flags there are, which of them take a value, and which JSON value their text becomes.
All that is wrong is told at once.

Knows no option of any command, and sends nothing.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from shlex import quote
from typing import Any

from microlith_cli.errors import PayloadError, UnsafeJsonError, nearest
from microlith_cli.schema import KINDS, Field, Schema
from microlith_cli.strict_json import parse

_FLOAT_DIGITS = 15
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
ESCAPE = "field."  # `--field.NAME` is the field NAME, even where a command has an option of that name


def payload_from(
    schema: Schema,
    tokens: Sequence[str],
    given: Mapping[str, Any],
    type_name: str,
    *,
    can_ask: Callable[[Field], bool] = lambda _: False,
) -> tuple[dict[str, Any], list[Field]]:
    """Build a payload from flags, laid over a payload that is already there.

    Args:
        schema: Of the message.
        tokens: `--flag value`, `--flag=value`, `--flag`, `--no-flag`, as typed.
        given: What the flags are laid over; not changed.
        type_name: Of the message, for errors.
        can_ask: Whether a required field that is missing can still be asked for.

    Returns:
        The payload, and the fields that are to be asked for.

    Raises:
        PayloadError: Fields that do not exist or are missing, values that cannot be one; all of them.
    """
    reader = _Reader(schema, given)
    rest = deque(tokens)
    while rest:
        reader.take(rest.popleft(), rest)
    missing = schema.missing(reader.payload)
    asked = [field for field in missing if can_ask(field)]
    # A name that was mistyped, or a value that cannot be, is told once.
    told = {problem[key] for problem in reader.problems for key in ("field", "nearest")}
    lacking = [field for field in missing if field not in asked and field.name not in told]
    problems = [*reader.problems, *(_problem(field.name, f"is required ({field.flag})") for field in lacking)]
    if problems:
        raise PayloadError(type_name, problems)
    return reader.payload, asked


def put(payload: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value deep inside a payload. Raises ValueError: something else than an object is in the way."""
    *parents, last = path
    place = payload
    for part in parents:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ValueError(f"{part} is not an object in the payload given")  # noqa: TRY004 (a mistake in text)
    place[last] = value


def shown_flag(field: Field, taken: Sequence[str]) -> str:
    """The flag to show for a field, where a command's own options take some names."""
    return f"--{ESCAPE}{field.flag[2:]}" if field.flag in taken else field.flag


def example(type_name: str, schema: Schema, taken: Sequence[str]) -> str:
    """One line that would send the message: its required fields with values that likely fit, secrets left out."""
    words = ["microlith", "dispatch", type_name]
    for field in schema.fields():
        if not field.required or field.is_secret:
            continue
        flag = shown_flag(field, taken)
        value = (field.item if field.is_list else field).sample
        words += [flag] if value is True and field.is_switch else [flag, quote(_as_text(value))]
    return " ".join(words)


def read(field: Field, text: str) -> Any:
    """Turn the text of a flag into the JSON value that its field takes.

    Raises:
        ValueError: It cannot be one; the text says what it must be.
    """
    kinds = field.kinds
    if "null" in kinds and text == "null":
        return None
    if field.choices and not field.is_list:
        return _choose(text, field.choices)
    # A Decimal is a number or a text: what a float cannot hold exactly goes as a text.
    exact = "string" in kinds and sum(map(str.isdigit, text)) > _FLOAT_DIGITS
    if not exact and (value := _read_scalar(text, kinds)) is not None:
        return value
    if "string" in kinds:
        return text
    return _read_json(text, kinds, field.kind)


class _Reader:
    """Reads flags one after another into a payload."""

    def __init__(self, schema: Schema, given: Mapping[str, Any]) -> None:
        self.payload: dict[str, Any] = deepcopy(dict(given))
        self.problems: list[dict[str, Any]] = []
        self._schema = schema
        self._lists: dict[tuple[str, ...], list[Any]] = {}  # those begun by a flag: later ones add to them

    def take(self, flag: str, rest: deque[str]) -> None:
        """Read one flag, and from the rest its value if it needs one."""
        name, joined, text = flag.removeprefix("--").partition("=")
        if not flag.startswith("--") or not name:
            self.problems.append(_problem(flag, "is not a flag; a field is given as --name value"))
            return
        field, negated = self._find(name)
        if field is None:
            self._unknown(name)
            if not joined and rest and not rest[0].startswith("--"):
                rest.popleft()
            return
        try:
            if negated:
                _no_text(name, text if joined else None)
                put(self.payload, field.path, [] if field.is_list else False)
            else:
                self._put(field, text if joined else _next_text(field, rest))
        except ValueError as error:
            self.problems.append(_problem(field.name, str(error)))

    def _find(self, name: str) -> tuple[Field | None, bool]:
        for candidate in dict.fromkeys((name, name.removeprefix(ESCAPE))):
            if (field := self._schema.field(candidate)) is not None:
                return field, False
            positive = candidate.removeprefix("no-")
            field = self._schema.field(positive) if positive != candidate else None
            if field is not None and (field.is_list or "boolean" in field.kinds):
                return field, True
        return None, False

    def _unknown(self, name: str) -> None:
        known = [field.name for field in self._schema.fields()]
        self.problems.append(_problem(name, "there is no such field", nearest(name.replace("-", "_"), known)))

    def _put(self, field: Field, text: str) -> None:
        if not field.is_list or (text == "null" and "null" in field.kinds):
            put(self.payload, field.path, read(field, text))
            return
        items = self._lists.setdefault(field.path, [])
        if text != "[]":
            items.append(read(field.item, text))
        put(self.payload, field.path, items)


def _next_text(field: Field, rest: deque[str]) -> str:
    if field.is_switch:
        return rest.popleft() if rest and rest[0] in {"true", "false", "null"} else "true"
    if not rest or rest[0].startswith("--"):
        begins = f"; for one that begins with --, write {field.flag}=--…" if rest else ""
        raise ValueError(f"{field.flag} needs a value{begins}")
    return rest.popleft()


def _no_text(name: str, text: str | None) -> None:
    if text is not None:
        raise ValueError(f"--{name} takes no value")


def _problem(field: str, problem: str, close: str | None = None) -> dict[str, Any]:
    return {"field": field, "problem": problem, "nearest": close}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choose(text: str, choices: Sequence[Any]) -> Any:
    """Find the choice that was meant. Raises ValueError: none was."""
    for value in choices:
        if text == (value if isinstance(value, str) else json.dumps(value)):
            return value
    shown = [str(value) for value in choices]
    close = nearest(text, shown)
    raise ValueError(f"must be one of {', '.join(shown)}" + (f"; did you mean {close}?" if close else ""))


def _read_scalar(text: str, kinds: Sequence[str]) -> Any:
    """Read a number or a truth value; None when the text is neither, of those that are asked for."""
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    if "boolean" in kinds and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    return None


def _read_json(text: str, kinds: Sequence[str], wanted: str) -> Any:
    """Read JSON of one of some types. Raises ValueError: it is not, or it is no JSON."""
    try:
        value = parse(text.encode("utf-8", "surrogatepass"))
    except UnsafeJsonError:
        if not kinds:
            return text
        raise ValueError(f"must be {_article(wanted)}") from None
    named = "array" if isinstance(value, list) else KINDS.get(type(value), "object")
    if kinds and named not in kinds:
        raise ValueError(f"must be {_article(wanted)}")
    return value


def _article(word: str) -> str:
    if word.startswith("any"):
        return word
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
