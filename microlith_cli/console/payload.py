"""Payloads in one line, the way the filter language writes them: email=a@b.c address={city=Bern}.

Writes no more than there is room for, however large the payload is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from microlith_cli.console.ink import one_line

_DEEPEST = 6
_PLAIN = re.compile(r"[\w@.+:/*%-]+")


def payload_line(data: Any, room: int) -> str:
    """Write a payload in about as many characters as there is room for, or fewer; empty for none."""
    fields = _fields(data) if isinstance(data, Mapping) else _value(data, _DEEPEST)
    return "" if data is None else _gathered(fields, room)


def _gathered(pieces: Iterator[str], room: int) -> str:
    found: list[str] = []
    length = 0
    for piece in pieces:
        found.append(piece)
        length += len(piece)
        if length > room:
            break
    return "".join(found)


def _fields(data: Mapping[Any, Any], depth: int = _DEEPEST) -> Iterator[str]:
    space = ""
    for key, value in data.items():
        yield f"{space}{one_line(key, 200)}="
        yield from _value(value, depth)
        space = " "


def _value(value: Any, depth: int) -> Iterator[str]:
    match value:
        case str():
            shown = one_line(value)
            yield shown if _PLAIN.fullmatch(shown) else f'"{shown.replace(chr(34), chr(92) + chr(34))}"'
        case None | bool():
            yield {None: "null", True: "true", False: "false"}[value]
        case dict() | list() if not depth and value:
            yield "{..}" if isinstance(value, dict) else "[..]"
        case dict():
            yield "{"
            yield from _fields(value, depth - 1)
            yield "}"
        case list():
            yield "["
            for at, item in enumerate(value):
                yield " " if at else ""
                yield from _value(item, depth - 1)
            yield "]"
        case _:
            yield one_line(value)
