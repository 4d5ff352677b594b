"""The right-hand side of a tree: outcome, time in the queue, time at work, and one time line for all.

Knows nothing of branches.
"""

from math import ceil

from microlith_cli.causation import Handling, Tree
from microlith_cli.console.ink import Ink, Run, duration

_SLOW_QUEUE_MS = 20.0
"""A wait is pointed out from here on, if it was longer than the work."""


class Columns:
    """The right-hand side: outcome, waiting, working, and the time line they share."""

    def __init__(self, ink: Ink, tree: Tree) -> None:
        self._ink = ink
        self.bar = 14 + (ink.width - 80) * 3 // 10 if ink.width >= 64 else 0
        self._queue = ink.width >= 48
        self.width = 11 + (8 if self._queue else 0) + (self.bar + 1 if self.bar else 0)
        self.left = ink.width - self.width
        self._begin = tree.started or 0.0
        self._span = max((tree.ended or 0.0) - self._begin, 1e-9)
        took = [handling.took_ms or 0.0 for message in tree.walk() for handling in message.handlings]
        self._slowest = max(took) if len(took) > 2 else float("inf")

    def caption(self) -> list[Run]:
        """What the numbers are."""
        waited = f"{'waited':>7} " if self._queue else ""
        return [(f"    {waited}{'took':>7}", "dim")]

    def of(self, handling: Handling, kind: str) -> list[Run]:
        """Show one handling."""
        ink, failed = self._ink, handling.failed
        style = {"ok": "ok", "running": "dim", "cancelled": "warning", "retried": "warning", "ignored": "dim"}.get(
            handling.outcome, "failed"
        )
        runs: list[Run] = [("  ", ""), (ink.mark(handling.outcome), "failed bold" if failed else style), (" ", "")]
        if self._queue:
            slow = handling.queued_ms > max(_SLOW_QUEUE_MS, handling.took_ms or 0.0)
            runs.append((f"{duration(handling.queued_ms, ink):>7} ", "warning" if slow else "dim"))
        if handling.took_ms is None:
            runs.append((f"{'running':>7}", "dim"))
        else:
            weight = "bold" if handling.took_ms >= self._slowest else ""
            runs.append((f"{duration(handling.took_ms, ink):>7}", "failed" if failed else weight))
        if self.bar and handling.started is not None:
            runs += [(" ", ""), *self._line(handling, "failed" if failed else kind)]
        return runs

    def _line(self, handling: Handling, style: str) -> list[Run]:
        """Show when it waited and worked: a thin line, then a thick one."""
        begun = handling.started or 0.0
        queued = self._place(begun - handling.queued_ms / 1000)
        started = self._place(begun)
        running = handling.took_ms is None
        ended = (
            self.bar
            if running
            else ceil((begun + (handling.took_ms or 0.0) / 1000 - self._begin) / self._span * self.bar)
        )
        ended = min(max(ended, started + 1), self.bar)
        mark = self._ink.mark("working" if running else "worked")
        return [
            (" " * queued, ""),
            (self._ink.mark("queued") * (started - queued), "dim"),
            (mark * (ended - started), style),
        ]

    def _place(self, moment: float) -> int:
        return min(max(int((moment - self._begin) / self._span * self.bar), 0), self.bar - 1)
