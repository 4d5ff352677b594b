"""The sum of one second of facts that come too fast to be read.

Writes nothing; see `live`.
"""

from collections import Counter

from microlith_cli.causation import HANDLED, STARTED, Fact, Handling, kind_of, moment, read_handling
from microlith_cli.console.ink import Ink, Run, clock, duration, one_line
from microlith_cli.plurals import plural

_FAILURES_SHOWN = 3
"""In a second that is only summed up."""
_TYPES_SHOWN = 3


class Summary:
    """What one second held."""

    def __init__(self) -> None:
        self.count = 0
        self._types: Counter[tuple[str, str]] = Counter()
        self._ok = 0
        self._failed = 0
        self._dropped = 0
        self._slowest: dict[str, float] = {}
        self._last = ""

    def add(self, fact: Fact) -> bool:
        """Count a fact; tells whether it must be shown all the same."""
        self.count += 1
        self._last = clock(moment(fact.get("time")))[11:19]
        if fact.get("type") in (HANDLED, STARTED):
            return self._add_handling(read_handling(fact))
        if "bus" in fact:
            self._types[kind_of(fact), str(fact.get("type"))] += 1
            return False
        data = fact.get("data")
        count = data.get("count") if isinstance(data, dict) and fact.get("type") == "microlith.dropped" else None
        if isinstance(count, int):
            self._dropped += count
        return count is None

    def row(self, ink: Ink) -> list[Run]:
        """Sum up."""
        runs: list[Run] = [(f"{self._last:12} ", "dim"), (f"{ink.mark('more')} {self.count:,} facts/s", "bold")]
        runs.append((f"  {ink.mark('ok')} {self._ok:,}" if self._ok else "", "ok"))
        runs.append((f"  {ink.mark('failed')} {self._failed:,}" if self._failed else "", "failed bold"))
        runs.append((f"  dropped {self._dropped:,}" if self._dropped else "", "warning"))
        for (kind, name), count in self._types.most_common(_TYPES_SHOWN):
            runs += [("  ", ""), (ink.mark(kind), kind), (f" {one_line(name, 60)} {count:,}", kind)]
        others = len(self._types) - _TYPES_SHOWN
        runs.append((f"  and {plural(others, 'type')} more" if others > 0 else "", "dim"))
        slowest = sorted(self._slowest.items(), key=lambda item: -item[1])[:2]
        told = ", ".join(f"{one_line(name, 60)} {duration(ms, ink)}" for name, ms in slowest)
        runs.append((f"  slowest {told}" if told else "", "dim"))
        return runs

    def _add_handling(self, handling: Handling) -> bool:
        if handling.took_ms is not None and (handling.handler in self._slowest or len(self._slowest) < 1000):
            self._slowest[handling.handler] = max(handling.took_ms, self._slowest.get(handling.handler, 0.0))
        self._ok += handling.outcome == "ok"
        self._failed += handling.failed
        return handling.failed and self._failed <= _FAILURES_SHOWN
