"""Strict JSON: read so that it means the same to everyone, or refused.

The standard library's reader takes NaN, a key twice, half a surrogate pair and integers of any size; what is
stored must be none of that, so it is refused where it comes in.

Knows nothing of messages.
"""

import json
import re
from math import isfinite
from typing import Any, NoReturn

from microlith_cli.errors import UnsafeJsonError

MAX_PAYLOAD = 1 << 20  # bytes of UTF-8
MAX_DEPTH = 64  # lists and objects inside one another, in a payload

_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON that must mean the same to everyone.

    Raises:
        UnsafeJsonError: Not UTF-8, not JSON, a key twice, NaN or infinity, an integer beyond 64 bits,
            half a surrogate pair, or nesting deeper than `max_depth`.
    """
    value = read(text, max_depth=max_depth)
    check(value, max_depth=max_depth)
    return value


def read(text: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON as `parse` does, without a look at numbers, half surrogate pairs and depth: for what a store wrote.

    Raises:
        UnsafeJsonError: Not UTF-8, not JSON, a key twice, NaN or infinity.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise UnsafeJsonError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnsafeJsonError(
            f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:  # an integer with thousands of digits
        raise UnsafeJsonError("an integer has more than 64 bits") from error
    except RecursionError as error:
        raise UnsafeJsonError(f"it is nested deeper than {max_depth}") from error


def check(value: Any, *, max_depth: int = MAX_DEPTH) -> None:
    """Refuse what some reader of JSON would read otherwise. Needs no recursion.

    Raises:
        UnsafeJsonError: As for `parse`.
    """
    rest = [(value, 0)]
    while rest:
        item, depth = rest.pop()
        match item:
            case dict() | list():
                if depth >= max_depth:
                    raise UnsafeJsonError(f"it is nested deeper than {max_depth}")
                if isinstance(item, dict):
                    rest.extend((key, depth + 1) for key in item)
                    rest.extend((inner, depth + 1) for inner in item.values())
                else:
                    rest.extend((inner, depth + 1) for inner in item)
            case str():
                if _SURROGATE.search(item):
                    raise UnsafeJsonError("a text holds half a surrogate pair")
            case bool() | None:
                pass
            case int():
                if not -(1 << 63) <= item < 1 << 63:
                    raise UnsafeJsonError("an integer has more than 64 bits")
            case float():
                if not isfinite(item):
                    raise UnsafeJsonError("a number is not finite")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UnsafeJsonError(f"the key {twice!r} comes twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise UnsafeJsonError(f"{name} is no number in JSON")
