"""The words of a line, and which command they are.

A line is one of `microlith`'s own command lines, without that name. A message's name alone is a dispatch.

Runs nothing.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from microlith_cli.commands import GLOBAL_OPTIONS, TABLE, WORDS
from microlith_cli.errors import UnknownNameError, UsageError

_ELSEWHERE = {
    "run": "It would take this terminal; the shell talks to the one that runs.",
    "shell": "This is one.",
    "demo": "It makes a project of its own; run it in another terminal.",
    "completion": "Tab completes here by itself.",
}
"""Commands that make no sense in a shell, and why."""
VERBS = {name: said for name, said, _ in TABLE if name not in _ELSEWHERE}
OWN = {
    ".help": "Show what can be typed here; .help COMMAND shows its options.",
    ".quit": "Leave the shell; the application runs on.",
    ".record": "Write the commands from now on into a script: .record FILE, .record off.",
}
"""What only a shell has, but for `watch`."""
WATCH = "watch"
WATCH_SAID = "Show facts above the prompt as they happen: watch FILTER, watch off."

Catalog = Mapping[str, Any]


def split_line(line: str) -> list[str]:
    """Take a line apart as a POSIX shell would; empty for a comment. A prompt that was pasted along is left out.

    Raises:
        UsageError: A quote is not closed.
    """
    if line.lstrip().startswith("#"):
        return []
    try:
        words = shlex.split(line.removeprefix("$ "))
    except ValueError:
        raise UsageError(
            "A quote is not closed, or nothing follows the last backslash.",
            hint="Quotes keep spaces together; a backslash takes a quote as it is.",
        ) from None
    return words[1:] if words[:1] == ["microlith"] else words


def as_command(words: list[str], catalog: Callable[[], Catalog], *, as_json: bool = False) -> list[str]:
    """Make the arguments of `microlith` of a line's words.

    Args:
        words: At least one.
        catalog: What the application consists of; asked only where that matters.
        as_json: Whether the output is to be JSON.

    Raises:
        UsageError: They name neither a command nor a message.
    """
    first = words[0]
    if first in _ELSEWHERE:
        raise UsageError(f"`{first}` is not for the shell.", hint=_ELSEWHERE[first])
    if first.partition("=")[0] in GLOBAL_OPTIONS:
        raise UsageError(
            "Options of microlith itself do not go before a line.", hint=f"Start the shell with it: microlith {first}."
        )
    if first not in VERBS:
        messages = sendable(catalog())
        if first not in messages and not first[:1].isupper():
            raise UnknownNameError("command", first, [*VERBS, WATCH, *OWN, *messages], see=".help")
        words = ["dispatch", *words]
    return _with_json(words) if as_json else words


def sendable(catalog: Catalog) -> dict[str, Mapping[str, Any]]:
    """List what can be dispatched, by each name it has."""
    entries = [entry for entry in catalog.get("messages", ()) if entry["kind"] != "response"]
    named = {str(entry["type"]): entry for entry in entries}
    return named | {f"{entry['component']}.{name}": entry for name, entry in named.items() if "." not in name}


def _with_json(words: list[str]) -> list[str]:
    """Add `--json` where the command takes it."""
    length = 2 if " ".join(words[:2]) in WORDS else 1
    takes_it = "--json" in WORDS.get(" ".join(words[:length]), ())
    return [*words[:length], *["--json"][: takes_it and "--json" not in words], *words[length:]]
