"""Finding a correlation in the trace log by what a person types.

An id is 36 characters that look alike at their beginning, so people type a part of it or how long ago it was.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from microlith.errors import MicrolithError
from microlith.ids import matches, short_id
from microlith.plurals import plural
from microlith.tracing.log import CURRENT, Fact, Logs, correlations, facts_holding, last_correlations

_HANDLED = "microlith.handled"
_SHOWN = 5
"""How many candidates an error lists."""
_NEWEST = 500
"""How many correlations a mistyped id is compared with."""


class TraceNotFoundError(MicrolithError):
    """What was typed means no correlation in the trace log.

    Attributes:
        nearest: Short ids that look alike, best first.
    """

    def __init__(self, typed: str, logs: Logs, known: list[tuple[str, str]]) -> None:
        first, *others = [logs] if isinstance(logs, str | os.PathLike) else logs
        where = str(Path(first, CURRENT))
        if others:
            where += f" and those of {plural(len(others), 'more process')}"
        shorts = {short_id(identifier): root for identifier, root in known}
        self.nearest = get_close_matches(typed, shorts, n=3, cutoff=0.5)
        if not known:
            super().__init__(
                f"Nothing is traced yet: {where} {'hold no message' if others else 'holds no message' if Path(first, CURRENT).exists() else 'does not exist'}.",
                hint="Send a message with `microlith dispatch`, or start the application with `microlith run`.",
            )
            return
        close = ", ".join(f"{short} ({shorts[short]})" for short in self.nearest)
        what = "no message failed" if typed == "@failed" else f"{typed!r} is none of them"
        hint = f"Nearest: {close}." if close else "`microlith trace` lists the newest correlations."
        if typed.startswith("@") and typed != "@failed":
            hint = "There are @last, @-2 for the one before it, and so on, and @failed."
        super().__init__(f"Looked at the newest {plural(len(known), 'correlation')} in {where}: {what}.", hint=hint)


class AmbiguousTraceError(MicrolithError):
    """What was typed means more than one correlation.

    Attributes:
        candidates: Their ids, newest first.
    """

    def __init__(self, typed: str, candidates: Mapping[str, Fact]) -> None:
        shown = [f"{short_id(each)} ({_name(fact)})" for each, fact in islice(candidates.items(), _SHOWN)]
        more = f" and {len(candidates) - _SHOWN} more" if len(candidates) > _SHOWN else ""
        super().__init__(
            f"{typed!r} could be {', '.join(shown)}{more}.",
            hint="Type more of it; the short id is the end of the whole id.",
        )
        self.candidates = tuple(candidates)


def find_correlation(logs: Logs, typed: str) -> str:
    """Find the correlation that a person means.

    Args:
        logs: Where the trace log is, or those of several processes.
        typed: The beginning of an id or of a short id, of a correlation or else of one of its messages;
            `@last` or `@-1`, the one that began last; `@-2`, the one before; `@failed`, the last with a failure.

    Raises:
        TraceNotFoundError: There is none; it says where it looked, and what looks alike.
        AmbiguousTraceError: There are several.
    """
    if typed.startswith("@") or not typed:
        found = _find_named(logs, typed)
        candidates: dict[str, Fact] = {found: {}} if found is not None else {}
    else:
        candidates = _find_typed(logs, typed)
    if not candidates:
        known = [(identifier, _name(facts[0])) for identifier, facts in last_correlations(logs, _NEWEST)]
        raise TraceNotFoundError(typed, logs, known)
    if len(candidates) > 1:
        raise AmbiguousTraceError(typed, candidates)
    return next(iter(candidates))


def _find_named(logs: Logs, typed: str) -> str | None:
    if typed == "@failed":
        return _last_failed(logs)
    back = "1" if typed == "@last" else typed.removeprefix("@-")
    if not (back.isascii() and back.isdigit()) or len(back) > 9 or int(back) < 1:
        return None
    return next((identifier for identifier, _ in islice(correlations(logs), int(back) - 1, None)), None)


def _last_failed(logs: Logs) -> str | None:
    settled: set[str] = set()
    for fact in facts_holding(logs, _HANDLED, newest_first=True):
        identifier, correlation = fact.get("id"), fact.get("correlationid")
        if not isinstance(identifier, str) or not isinstance(correlation, str) or fact.get("type") != _HANDLED:
            continue
        if identifier in settled:
            continue  # a later attempt has decided it
        settled.add(identifier)
        data = fact.get("data")
        if isinstance(data, dict) and data.get("outcome") in ("failed", "timeout"):
            return correlation
    return None


def _find_typed(logs: Logs, typed: str) -> dict[str, Fact]:
    """Collect what may be meant, newest first: correlations, or else those of matching messages."""
    named: dict[str, Fact] = {}
    holding: dict[str, Fact] = {}
    for fact in facts_holding(logs, typed, newest_first=True):
        identifier, message = fact.get("correlationid"), fact.get("id")
        if not isinstance(identifier, str) or not isinstance(message, str):
            continue
        if identifier == typed:
            return {identifier: fact}
        if matches(identifier, typed):
            named[identifier] = fact  # overwritten by older ones: the oldest is the first message
        elif matches(message.partition("/")[0], typed):
            holding[identifier] = fact
    return named or holding


def _name(fact: Fact) -> str:
    """Name what a fact is about, for a list of candidates."""
    data = fact.get("data")
    handled = fact.get("type") == _HANDLED and isinstance(data, dict)
    return str(data.get("message") if handled and isinstance(data, dict) else fact.get("type"))
