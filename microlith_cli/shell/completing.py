"""What could stand where the cursor is, in a line of the shell.

What a command takes is known to `completion`, as in every other shell; here come the commands a shell has of its
own, messages without `dispatch`, terms of filters, and ids of what happened lately.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from microlith.ids import short_id
from microlith.tracing.log import Logs, correlations
from microlith_cli.commands.completion import candidates
from microlith_cli.console.plain import escape
from microlith_cli.errors import ToolError
from microlith_cli.filtering.terms import BUSES, KEYS, STATUSES
from microlith_cli.session import Session, only_reply
from microlith_cli.shell.words import OWN, VERBS, WATCH, WATCH_SAID, sendable

_RECENT = 20
"""As many ids are offered."""

Candidates = Iterable[tuple[str, str]]


class Completing:
    """Finds candidates.

    Args:
        traces: Where the trace log is, or those of several processes.
        catalog: Tells what the application consists of.
        session: Opens a session, for ids of what waits.
    """

    def __init__(
        self, traces: Logs, catalog: Callable[[], Mapping[str, Any]], session: Callable[[], Session | None]
    ) -> None:
        self._traces = traces
        self._catalog = catalog
        self._session = session

    def __call__(self, text: str) -> tuple[int, list[tuple[str, str]]]:
        """Find what may follow a text: where the unfinished word begins, and the words it may become."""
        begin, before, current = _unfinished(text)
        try:
            return begin, self._fitting(before, current)
        except (ToolError, OSError, LookupError, TypeError, ValueError, AttributeError):
            return begin, []  # a catalog or a log that is not as it should be; nobody wants an error while they type

    def _fitting(self, before: list[str], current: str) -> list[tuple[str, str]]:
        found = {word: said for word, said in self._candidates(before, current) if word and word.startswith(current)}
        return [(word, said) for word, said in found.items() if word == escape(word) and "\n" not in word]

    def _candidates(self, before: list[str], current: str) -> Candidates:
        if before[:1] == ["microlith"]:
            before = before[1:]
        if not before:
            own = [*VERBS.items(), (WATCH, WATCH_SAID), *(OWN.items() if current.startswith(".") else ())]
            return [*own, *self._messages()]
        first, *rest = before
        if first == ".help":
            return [*VERBS.items(), *self._messages()] if not rest else []
        if first == ".record":
            return [("off", "record nothing any more")] if not rest else []
        if first == WATCH:
            return [("off", "show nothing any more"), *self._terms(current)]
        if rest and rest[-1] == "--filter":
            return self._terms(current)
        words = before if first in VERBS else ["dispatch", *before]
        return [*self._recent(words, current), *candidates(words, current, lambda _: dict(self._catalog()))]

    def _messages(self) -> Candidates:
        return [
            (name, f"{entry['kind']} of {entry['component']}")
            for name, entry in sendable(self._catalog()).items()
            if name == entry["type"]
        ]

    def _terms(self, current: str) -> Candidates:
        """Terms of the filter language; values where they can be known."""
        key = current.partition(":")[0]
        catalog = self._catalog()
        known: Mapping[str, Iterable[str]] = {
            "type": (str(entry["type"]) for entry in catalog.get("messages", ())),
            "component": catalog.get("components", ()),
            "handler": (str(entry["name"]) for entry in catalog.get("handlers", ())),
            "bus": BUSES,
            "status": STATUSES,
        }
        if ":" in current:
            return [(f"{key}:{value}", "") for value in known.get(key, ())]
        return [(f"{name}:", "") for name in KEYS if name != "data.FIELD"] + [("data.", "")]

    def _recent(self, words: list[str], current: str) -> Candidates:
        """Ids of what happened lately, where the command takes one."""
        found: Candidates = []
        match words:
            case _ if current.startswith("-"):
                pass
            case ["trace"] | ["trace", "diff" | "export"] | ["trace", "diff", _] | ["dispatch", *_, "--from"]:
                found = self._correlations()
            case ["dead-letters", "show" | "retry" | "drop"]:
                found = self._waiting("dead_letters")
            case ["schedules", "show" | "cancel"]:
                found = self._waiting("schedules")
            case ["events", "show"]:
                found = [("@last", "the newest"), *self._events()]
        return found

    def _correlations(self) -> Iterator[tuple[str, str]]:
        yield "@last", "the newest"
        yield "@failed", "the newest that failed"
        for identifier, facts in islice(correlations(self._traces), _RECENT):
            first = next((fact for fact in facts if "bus" in fact), facts[0])
            yield short_id(identifier), str(first.get("type", ""))

    def _waiting(self, verb: str) -> Candidates:
        rows = self._ask({"verb": verb, "limit": _RECENT}).get(verb, ())
        return [(short_id(str(row["id"])), str(row.get("message", ""))) for row in rows]

    def _events(self) -> Iterator[tuple[str, str]]:
        cursor = self._ask({"verb": "events", "newest": _RECENT}).get("cursor")
        for line in reversed(self._ask({"verb": "events", "cursor": cursor, "limit": _RECENT}).get("events", [])):
            event = json.loads(line)
            yield short_id(str(event.get("id", ""))), str(event.get("type", ""))

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the microlith; empty when there is none."""
        session = self._session()
        if session is None:
            return {}
        with session:
            answer: Mapping[str, Any] = only_reply(session, request)
            return answer


def _unfinished(text: str) -> tuple[int, list[str], str]:
    """Split a text before the cursor: where its last word begins, the words before, and what is there of the last."""
    begin, quote, escaped = 0, "", False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character.isspace():
            begin = at + 1
    before = shlex.split(text[:begin])
    try:
        current = "".join(shlex.split(text[begin:] + ("\\" if escaped else "") + quote))
    except ValueError:
        current = ""
    flag, joined, value = current.partition("=")
    if joined and flag.startswith("--") and not quote:
        return begin + text[begin:].index("=") + 1, [*before, flag], value
    return begin, before, current
