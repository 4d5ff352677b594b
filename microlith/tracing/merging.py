"""Merging: the facts of several processes in the order in which they were told.

Each process tells its facts in order; a handling is told when it has ended. Clocks of one machine are one clock, so the times
in the facts say how those of one process lie between those of another.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from math import inf
from operator import itemgetter
from typing import Any

Fact = dict[str, Any]


def told_at(fact: Mapping[str, Any]) -> float:
    """Return when a fact was told, seconds since the epoch: of a handling, when it had ended. 0 when it does not say."""
    try:
        moment = datetime.fromisoformat(fact["time"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0
    data = fact.get("data")
    took = data.get("took_ms") if "bus" not in fact and isinstance(data, dict) else None
    return moment + took / 1000 if isinstance(took, int | float) else moment


def merged(logs: Iterable[Iterable[Fact]], *, newest_first: bool = False) -> Iterator[Fact]:
    """Merge facts that are in order each for itself, or the other way round."""
    timed = [_timed(log, newest_first=newest_first) for log in logs]
    yield from map(itemgetter(1), heapq.merge(*timed, key=itemgetter(0), reverse=newest_first))


def _timed(log: Iterable[Fact], *, newest_first: bool) -> Iterator[tuple[float, Fact]]:
    """Give each fact its place. One that says no time, or is a little out of order, goes with the one before it.

    A message that came from elsewhere says when it was made there, and may have been on its way for hours: so it was not told
    before that.
    """
    last = inf if newest_first else 0.0
    for fact in log:
        if not newest_first:
            last = max(last, told_at(fact))
        elif "origin" not in fact:
            last = min(last, told_at(fact) or last)
        yield last, fact
