"""Lines of JSON: what travels over the control channel, and what is refused there.

A payload may have 1 MiB; a line has 64 KiB more, for the words around it.

Knows no verbs. The reader of a *server's* lines needs no checks: it has made sure whose server it is.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

from microlith_cli.errors import UnsafeJsonError

PROTOCOL = 1
MAX_PAYLOAD = 1 << 20  # bytes of UTF-8
MAX_LINE = MAX_PAYLOAD + (64 << 10)  # bytes, the newline included
MAX_DEPTH = 64  # lists and objects inside one another, in a payload
REQUEST_DEPTH = MAX_DEPTH + 2  # the request is an object around the payload

_SURROGATE = re.compile("[\ud800-\udfff]")
_to_utf8 = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_to_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encode(message: Mapping[str, Any]) -> bytes:
    """Write one line, with its newline. Raises ValueError for what JSON cannot say (NaN, infinity)."""
    try:
        return _to_utf8(message).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, as in the name of a file with undecodable bytes
        return _to_ascii(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Read one line that a stranger sent.

    Raises:
        UnsafeJsonError: It is not one JSON object within the limits.
    """
    if len(line) > MAX_LINE:
        raise UnsafeJsonError(f"it has more than {MAX_LINE} bytes")
    request = parse(line, max_depth=REQUEST_DEPTH)
    if not isinstance(request, dict):
        raise UnsafeJsonError("a line is one JSON object")
    return request


def parse(text: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON that must mean the same to everyone.

    Raises:
        UnsafeJsonError: Not UTF-8, not JSON, a key twice, NaN or infinity, an integer beyond 64 bits,
            half a surrogate pair, or nesting deeper than `max_depth`.
    """
    try:
        value = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise UnsafeJsonError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnsafeJsonError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # an integer with thousands of digits
        raise UnsafeJsonError("an integer has more than 64 bits") from error
    except RecursionError as error:
        raise UnsafeJsonError(f"it is nested deeper than {max_depth}") from error
    check(value, max_depth=max_depth)
    return value


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
