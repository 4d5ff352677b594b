"""The terms of the filter language: each key, and the test it stands for.

A test takes one fact. Its side says which facts it can be asked about: those of messages, those of
their handling, or both.

Knows nothing of quotes and negation; those are read in the package itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from typing import Any, Literal

from microlith_cli.errors import UsageError, nearest

Fact = Mapping[str, Any]
Test = Callable[[Any], bool]
Side = Literal["message", "handling", "both"]

HANDLING = ("microlith.handled", "microlith.started")
BUSES = ("command", "query", "event")
STATUSES = ("ok", "failed", "timeout", "retried", "ignored", "cancelled", "running", "unhandled")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST_TEXT = 4096
"""Of a value, as many characters are compared."""

_KEYED = re.compile(r"(?P<key>data\.[^:=<>\s]*|[A-Za-z_]+)(?P<operator>:|=|(?=[<>]))(?P<value>.*)", re.DOTALL)
_AMOUNT = re.compile(r"(?P<number>\d{1,12}(?:\.\d{1,9})?)(?P<unit>[a-zµ]*)")
_COMPARED = re.compile(r"(?P<sign>>=|<=|>|<)(?P<value>.*)", re.DOTALL)


class FilterError(UsageError):
    """A filter that cannot be meant.

    Attributes:
        term: The part of the filter that is wrong.
    """

    def __init__(self, term: str, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"In the filter, {term!r} {problem}.",
            hint=hint or f"Terms: {', '.join(f'{key}:…' for key in KEYS)}, a word of the type, -term for not.",
        )
        self.term = term


@dataclass(frozen=True, slots=True)
class Condition:
    """A term as it was typed, taken apart.

    Attributes:
        word: All of it, for error texts.
        key: What it is about.
        operator: `:`, `=`, or empty where the value begins with a comparison.
        value: What it asks for.
        now: Seconds since the epoch that times count from.
    """

    word: str
    key: str
    operator: str
    value: str
    now: float


def read_term(word: str, rest: str, unquoted: int, now: float) -> tuple[Test, Side]:
    """Turn a term into a test.

    Args:
        word: The term as it was typed, for error texts.
        rest: The term without its negation.
        unquoted: How many characters of it precede the first quote; a quoted separator separates nothing.
        now: Seconds since the epoch that times count from.

    Raises:
        FilterError: Names the term, and the nearest key.
    """
    keyed = _KEYED.fullmatch(rest)
    if keyed is None or keyed.end("key") >= unquoted:
        return _word_test(rest), "both"
    asked = Condition(word, keyed["key"], keyed["operator"], keyed["value"], now)
    if asked.key.startswith("data."):
        return _data_test(asked), "message"
    if asked.key.lower() not in _READERS:
        close = nearest(asked.key, KEYS)
        raise FilterError(
            word, f"begins with {asked.key!r}, which is no key", hint=f"Did you mean {close!r}?" if close else ""
        )
    if not asked.value:
        raise FilterError(word, "has no value")
    return _READERS[asked.key.lower()](asked)


def _word_test(word: str) -> Test:
    """A bare word: somewhere in the type, with its component or without."""
    matches = _text_test(":", word if any(sign in word for sign in "*?[") else f"*{word}*")
    return lambda fact: any(map(matches, _types(fact))) or matches(_handled(fact, "handler"))


def _text_test(operator: str, value: str) -> Test:
    if operator == "=":
        return lambda text: text == value
    # The translation of a glob cannot run away on a bounded text: each `*` is matched once, without going back.
    pattern = re.compile(translate(value.lower()))
    return lambda text: pattern.match(text[:_LONGEST_TEXT].lower()) is not None


def _type(asked: Condition) -> tuple[Test, Side]:
    matches = _text_test(asked.operator, asked.value)
    return lambda fact: any(map(matches, _types(fact))), "both"


def _component(asked: Condition) -> tuple[Test, Side]:
    matches = _text_test(asked.operator, asked.value)
    return lambda fact: matches(_component_of(fact)), "both"


def _handler(asked: Condition) -> tuple[Test, Side]:
    matches = _text_test(asked.operator, asked.value)
    return lambda fact: matches(_handled(fact, "handler")), "handling"


def _bus(asked: Condition) -> tuple[Test, Side]:
    bus = _one_of(asked, BUSES)
    return lambda fact: fact.get("bus") == bus, "message"


def _status(asked: Condition) -> tuple[Test, Side]:
    status = _one_of(asked, STATUSES)
    if status == "unhandled":
        return _is_unhandled, "message"
    if status == "running":
        return lambda fact: fact.get("type") == "microlith.started", "handling"
    outcomes = {"failed", "timeout"} if status == "failed" else {status}
    return lambda fact: _handled(fact, "outcome") in outcomes, "handling"


def _is_unhandled(fact: Fact) -> bool:
    return (
        fact.get("bus") == "event" and fact.get("handlers") == 0 and not (fact.get("projections") or fact.get("stepof"))
    )


def _duration(asked: Condition) -> tuple[Test, Side]:
    compared = _COMPARED.fullmatch(asked.value)
    sign, amount = (compared["sign"], compared["value"]) if compared else (">=", asked.value)
    fits = _comparison(sign, _seconds(asked, amount, default="ms") * 1000)
    field = f"{asked.key.lower()}_ms"

    def test(fact: Fact) -> bool:
        data = fact.get("data")
        return isinstance(data, Mapping) and fits(data.get(field))

    return test, "handling"


def _comparison(sign: str, limit: float) -> Test:
    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        match sign:
            case ">":
                return value > limit
            case ">=":
                return value >= limit
            case "<":
                return value < limit
            case _:
                return value <= limit

    return fits


def _seconds(asked: Condition, amount: str, *, default: str = "") -> float:
    found = _AMOUNT.fullmatch(amount)
    unit = (found["unit"] or default) if found else ""
    if found is None or unit not in _SECONDS:
        raise FilterError(asked.word, "has no duration", hint="Write a number and a unit: 50ms, 1.5s, 5m, 2h, 1d.")
    return float(found["number"]) * _SECONDS[unit]


def _time(asked: Condition) -> tuple[Test, Side]:
    limit = _moment(asked)
    # All times in facts are written alike, in UTC: their texts sort as they do.
    if asked.key.lower() == "since":
        return lambda fact: str(fact.get("time", "")) >= limit, "both"
    return lambda fact: "" < str(fact.get("time", "")) < limit, "both"


def _moment(asked: Condition) -> str:
    now = datetime.fromtimestamp(asked.now, UTC)
    try:
        if _AMOUNT.fullmatch(asked.value):
            moment = now - timedelta(seconds=_seconds(asked, asked.value))
        elif re.fullmatch(r"\d\d:\d\d(:\d\d)?", asked.value):
            moment = datetime.fromisoformat(f"{now.astimezone().date()}T{asked.value}").astimezone(UTC)
        else:
            moment = datetime.fromisoformat(asked.value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(
            asked.word,
            "has no time",
            hint="Write how long ago (5m, 2h, 1d), a time (10:32) or a date (2026-11-23T10:32).",
        ) from None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _correlation(asked: Condition) -> tuple[Test, Side]:
    if asked.operator == "=":
        return lambda fact: fact.get("correlationid") == asked.value, "both"
    return lambda fact: _means(fact.get("correlationid"), asked.value), "both"


def _identifier(asked: Condition) -> tuple[Test, Side]:
    """The id of a message, or of the message that is handled."""
    return lambda fact: _means(fact.get("causationid" if fact.get("type") in HANDLING else "id"), asked.value), "both"


def _means(identifier: Any, typed: str) -> bool:
    # The short id, which people are shown, is the end of the whole id.
    return isinstance(identifier, str) and (identifier.startswith(typed) or identifier[-8:].startswith(typed))


def _data_test(asked: Condition) -> Test:
    path = asked.key.split(".")[1:]
    if not all(path):
        raise FilterError(
            asked.word, "names no field", hint="Write data.FIELD, such as data.email=a@b.c or data.address.city:B*."
        )
    compared = _COMPARED.fullmatch(asked.value) if asked.operator != "=" else None
    if compared is not None:
        try:
            fits = _comparison(compared["sign"], float(compared["value"]))
        except ValueError:
            raise FilterError(asked.word, "compares with no number", hint="Write a number: data.amount:>100.") from None
        return lambda fact: any(map(fits, _values(fact.get("data"), path)))
    matches = _text_test(asked.operator, asked.value)
    return lambda fact: any(matches(_text(item)) for item in _values(fact.get("data"), path))


def _values(data: Any, path: list[str]) -> Iterator[Any]:
    """Find what stands at a path; of a list, each item or the one with a number."""
    found = [data]
    for part in path:
        below: list[Any] = []
        for item in found:
            if isinstance(item, list):
                if part.isascii() and part.isdigit() and len(part) < 8:
                    below += item[int(part) : int(part) + 1]
                    continue
                below += [each[part] for each in item if isinstance(each, Mapping) and part in each]
            elif isinstance(item, Mapping) and part in item:
                below.append(item[part])
        found = below
    for item in found:
        yield from item if isinstance(item, list) and item else (item,)


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() | float():
            return str(value)
        case _:
            return ""


def _one_of(asked: Condition, known: tuple[str, ...]) -> str:
    if asked.value.lower() in known:
        return asked.value.lower()
    close = nearest(asked.value, known)
    raise FilterError(
        asked.word,
        f"is none of {', '.join(known)}",
        hint=f"Did you mean {close!r}?" if close else "Write one of them.",
    )


def _handled(fact: Fact, field: str) -> str:
    """A text of a handling; empty for a message."""
    data = fact.get("data")
    found = data.get(field) if fact.get("type") in HANDLING and isinstance(data, Mapping) else ""
    return found if isinstance(found, str) else ""


def _types(fact: Fact) -> tuple[str, ...]:
    """What a message may be called: its type, also with its component."""
    name = _handled(fact, "message") if fact.get("type") in HANDLING else str(fact.get("type", ""))
    component = fact.get("component")
    return (name, f"{component}.{name}") if isinstance(component, str) and "." not in name else (name,)


def _component_of(fact: Fact) -> str:
    """The component of a message, or of the handler."""
    component = fact.get("component")
    if isinstance(component, str) and fact.get("type") not in HANDLING:
        return component
    return _handled(fact, "handler").partition(".")[0]


_READERS: dict[str, Callable[[Condition], tuple[Test, Side]]] = {
    "type": _type,
    "bus": _bus,
    "component": _component,
    "handler": _handler,
    "status": _status,
    "took": _duration,
    "queued": _duration,
    "since": _time,
    "until": _time,
    "correlation": _correlation,
    "id": _identifier,
}
KEYS = (*_READERS, "data.FIELD")
