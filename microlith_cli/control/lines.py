"""Lines of JSON: what travels over the control channel, and what is refused there.

A payload may have 1 MiB; a line has 64 KiB more, for the words around it.

Knows no verbs. The reader of a *server's* lines needs no checks: it has made sure whose server it is.
"""

import json
from collections.abc import Mapping
from typing import Any

from microlith_cli.errors import UnsafeJsonError
from microlith_cli.strict_json import MAX_DEPTH, MAX_PAYLOAD, parse

PROTOCOL = 1
MAX_LINE = MAX_PAYLOAD + (64 << 10)  # bytes, the newline included
REQUEST_DEPTH = MAX_DEPTH + 1  # the request is an object around the payload

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
