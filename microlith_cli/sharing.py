"""Sharing: several processes of one component, or of the whole application, that work on one store.

Each has a folder of its own for its socket, lock and trace log: `.microlith/stock`, `.microlith/stock.2` and so on; of the
whole application `.microlith`, `.microlith/2`. No component's name has a dot or begins with a digit.

Opens nothing.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote

from microlith_cli.config import Config

MOST = 64
"""How many processes of one project may share a store on one machine."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LOGIN = re.compile(r"\w+://[^/]*@")
_NUMBERED = re.compile(r"(?P<base>.*)\.(?P<number>[1-9]\d{0,3})")
_NUMBER = re.compile(r"[1-9]\d{0,3}")


def shares_store(config: Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the settings say that processes share a store: `postgresql://...?shared=yes`."""
    url = config.text("store.url") or ""
    return says_shared(_filled(url, environ))


def says_shared(url: str) -> bool:
    """Tell whether the url of a store says so; its variables are filled in."""
    scheme, _, rest = url.partition(":")
    options = dict(parse_qsl(rest.partition("?")[2], keep_blank_values=True))
    return scheme == "postgresql" and options.get("shared") == "yes"


def folder_of(first: Path, number: int, *, whole: bool) -> Path:
    """Return the folder of one of the processes that share a store.

    Args:
        first: The folder of the first of them.
        number: Which one, from 1.
        whole: Whether each of them runs the whole application.
    """
    if number == 1:
        return first
    return first / str(number) if whole else first.with_name(numbered(first.name, number))


def folders_of(first: Path, *, whole: bool) -> dict[int, Path]:
    """Find the folders of the processes that share a store, or did; the first one first, whether or not it is there."""
    found = {1: first}
    for path in first.glob("*") if whole else first.parent.glob(f"{first.name}.*"):
        number = path.name if whole else path.name.removeprefix(f"{first.name}.")
        if _NUMBER.fullmatch(number) and int(number) > 1:
            found[int(number)] = path
    return dict(sorted(found.items()))


def numbered(name: str, number: int) -> str:
    """Name one of the processes that share a store: "stock", "stock.2"."""
    return name if number == 1 else f"{name}.{number}"


def base_of(name: str) -> str:
    """Return whose process one is, by its name: "stock" for "stock.2"."""
    match = _NUMBERED.fullmatch(name)
    return match["base"] if match else name


def is_number(name: str) -> bool:
    """Tell whether a folder in `.microlith` is one of several processes of the whole application."""
    return _NUMBER.fullmatch(name) is not None


def _filled(url: str, environ: Mapping[str, str]) -> str:
    """Fill in variables as the runtime does, which most commands need not import; one that is not set is empty."""

    def value(match: re.Match[str]) -> str:
        return environ.get(match[1], "")

    def escaped(match: re.Match[str]) -> str:
        return quote(value(match), safe="")

    login = _LOGIN.match(url)
    end = login.end() if login else 0
    place, question, options = url[end:].partition("?")
    return _VARIABLE.sub(escaped, url[:end]) + _VARIABLE.sub(value, place) + question + _VARIABLE.sub(escaped, options)
