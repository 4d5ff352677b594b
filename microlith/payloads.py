"""Payloads as bytes: the gate in front of everything that is stored or sent.

Uses the standard library only, so that the tool can refuse a payload before it loads a model.
Limits: 1 MiB, 64 levels, numbers that fit 64 bits, no NaN or Infinity, no key twice, valid UTF-8.

Knows no message types; what a field may hold is decided in `serialization`.
"""

import json
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from typing import Any

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
_MAX_DIGITS = 20
_NO_BONES = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = {ord("["): 1, ord("]"): -1}
_BIGGEST = 2**63 - 1

MASK = "***"
_LONG_NAME = 100
"""Characters from which on it is not remembered whether a name is a secret's: keys come from outside."""
_SECRET_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "authorization",
    "apikey",
    "cookie",
    "credential",
    "privatekey",
)


class PayloadRefused(ValueError):  # noqa: N818 (turned into UnsafePayloadError where the message type is known)
    """A payload that is not decoded; the text says why and never quotes it."""


def load_payload(raw: bytes | str) -> Any:
    """Decode a JSON payload, refusing what could harm or would not come back the same.

    Raises:
        PayloadRefused: Says which limit was crossed, and where when that is known.
    """
    text, data = _as_text(raw)
    if len(data) > MAX_BYTES:
        raise PayloadRefused(f"is {len(data)} bytes long; at most {MAX_BYTES} are taken")
    if depth_of(data) > MAX_DEPTH:
        raise PayloadRefused(f"is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            parse_float=_parse_float,
            object_pairs_hook=_pairs,
        )
    except json.JSONDecodeError as error:
        raise PayloadRefused(
            f"is not JSON: {error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise PayloadRefused(f"is nested more than {MAX_DEPTH} levels deep") from None
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def depth_of(data: bytes) -> int:
    """Count the levels of nesting in JSON text, without decoding it.

    Of text that is no JSON it may count less, but never less than a parser descends before it finds that out.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return 0
    if b"\\" in data:
        # A run of them is paired off from its left, so that what is left over escapes what follows it.
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    bones = data.translate(_ALL_SQUARE, _NO_BONES)
    # Most strings are empty now. Two that touch become one; what lies outside of strings stays the same.
    outside = b"".join(bones.replace(b'""', b"").split(b'"')[::2])
    while len(shorter := outside.replace(b"[][]", b"[]")) < len(outside):  # neighbours are as deep as one
        outside = shorter
    return max(0, max(accumulate(map(_STEPS.__getitem__, outside)), default=0))


def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name is masked wherever it is shown, whatever its type."""
    return _holds_secret_word(name) if len(name) > _LONG_NAME else _remembered_holds_secret_word(name)


def redact(value: Any, name: str = "") -> Any:
    """Copy decoded JSON with every text below a secret name replaced by a mask, at any depth."""
    if isinstance(value, dict):
        above = f"{name}." if is_secret_name(name) else ""
        return {key: redact(item, f"{above}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item, name) for item in value]
    if isinstance(value, str) and (is_secret_name(name) or value == "**********"):
        return MASK
    return value


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace secret values that occur in a text, such as an error message; quoted as Python or JSON does it, too."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin like another
        if len(secret) >= 3:
            quoted = json.dumps(secret)[1:-1]
            for form in (secret, repr(secret)[1:-1], quoted):
                text = text.replace(form, MASK)
    return text


def _holds_secret_word(name: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "")
    return any(word in plain for word in _SECRET_NAMES)


_remembered_holds_secret_word = lru_cache(maxsize=1024)(_holds_secret_word)


def _as_text(raw: bytes | str) -> tuple[str, bytes]:
    try:
        return (raw, raw.encode()) if isinstance(raw, str) else (raw.decode(), raw)
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise PayloadRefused(f"is not valid UTF-8: {error.reason}") from None


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise PayloadRefused("holds half of a surrogate pair, which is no character") from None


def _refuse_constant(text: str) -> Any:
    raise PayloadRefused(f"holds {text}, which is not a JSON number")


def _parse_int(text: str) -> int:
    if len(text) > _MAX_DIGITS or not -_BIGGEST - 1 <= int(text) <= _BIGGEST:
        raise PayloadRefused("holds a whole number beyond 64 bits")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise PayloadRefused("holds a number too large for a float")
    return number


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise PayloadRefused(f"has the key {twice[:40]!r} twice")
    return result
