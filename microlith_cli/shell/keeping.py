"""What of a line may be kept: in the history, and in a script that is recorded.

A flag of a secret field is left out together with its value, so that the line asks for it when it comes again. A
header is kept as one to ask for. A line that holds a secret in another way is not kept at all.

Goes by names, as everything that masks does: those of the application's secret fields, and those that secrets
usually have.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from microlith.payloads import is_secret_name
from microlith_cli.flags import ESCAPE
from microlith_cli.schema import Schema

_HEADER = "--header"
_HEADER_PARTS = re.compile(r"([\w.-]+)=(.*)", re.DOTALL)
_NAMED = re.compile(r"([\w-]+)[\"']?\s*[:=<>]")


def secret_names(catalog: Mapping[str, Any]) -> frozenset[str]:
    """Collect the names of all secret fields of an application, nested ones by their last part."""
    names: set[str] = set()
    for entry in catalog.get("messages", ()):
        names.update(entry.get("secrets", ()))
        names.update(field.path[-1] for field in Schema(entry["schema"]).fields() if field.is_secret)
    return frozenset(name.replace("-", "_") for name in names)


def kept(line: str, words: list[str], secrets: frozenset[str]) -> str | None:
    """Make the line that may be kept of one that was typed; None: nothing of it.

    Args:
        line: As typed.
        words: The same, taken apart.
        secrets: The names of secret fields.
    """

    def is_secret(name: str) -> bool:
        return name.replace("-", "_") in secrets or is_secret_name(name)

    left: list[str] = []
    at = 0
    while at < len(words):
        before, word = words[at - 1] if at else "", words[at]
        at += 1
        flag, joined, value = word.partition("=")
        if flag.startswith("--") and any(map(is_secret, flag[2:].removeprefix(ESCAPE).split("."))):
            if not joined and at < len(words) and not words[at].startswith("--"):
                at += 1
            continue
        if before == _HEADER and (header := _HEADER_PARTS.fullmatch(word)) is not None:
            word = _kept_header(*header.groups()) if is_secret(header[1]) else word
        elif _tells(value if flag.startswith("--") else word, is_secret):
            return None
        left.append(word)
    return line if left == words else shlex.join(left)


def _kept_header(name: str, value: str) -> str:
    """Have a secret header asked for when the line comes again, unless it comes from a file as it is."""
    return f"{name}={value if value.startswith('@') else '-'}"


def _tells(text: str, is_secret: Callable[[str], bool]) -> bool:
    """Whether a text gives a secret field a value: as JSON, or as in a filter."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return _holds(json.loads(text), is_secret)
        except (ValueError, RecursionError):
            return any(map(is_secret, re.findall(r"\w+", text)))
    return any(is_secret(name) for name in _NAMED.findall(text))


def _holds(value: Any, is_secret: Callable[[str], bool]) -> bool:
    if isinstance(value, dict):
        return any(is_secret(key) or _holds(inner, is_secret) for key, inner in value.items())
    return isinstance(value, list) and any(_holds(inner, is_secret) for inner in value)
