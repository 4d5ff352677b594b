"""The live tracer: facts as lines while they come, and a summary each second when they come too fast.

    12:00:00.123 9e3779b1 ► RegisterCommand  email=ann@example.org password=***
    12:00:00.186 9e3779b1 │ ✓ auth.register   62 ms
    12:00:00.186 9e3779b1 │ ◇ UserRegisteredEvent #1  email=ann@example.org user_id=7f0c

A line, once written, stays: nothing is drawn over, so output of the application may come in between.
The indent says what caused what; the colour of the id says what belongs together.
Nobody reads more than a hundred lines a second: beyond that the tracer counts, and writes failures only.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any, TextIO

from microlith_cli.causation import (
    HANDLED,
    STARTED,
    Fact,
    Handling,
    cause_of,
    id_of,
    kind_of,
    moment,
    read_handling,
    takers,
)
from microlith_cli.console.ink import GROUPS, Ink, Run, cells, clock, duration, one_line, width_of
from microlith_cli.console.lines import error_words, notice_words
from microlith_cli.console.payload import payload_line
from microlith_cli.console.plain import write
from microlith_cli.console.summary import Summary

READABLE = 100
"""Facts a second; above that they are counted."""
_BROKER = "microlith.transport"
_REMEMBERED = 10_000
"""Of as many messages it is known how deep they stand."""
_LONGEST_LINE = 2000
"""Cells in a line where no terminal sets the width."""
_SLOW_QUEUE_MS = 20.0
_MOST_ERROR_LINES = 4
_MOST_FIELDS = 50
_MOST_FIELD_LINES = 10
_LONGEST_NAME = 12
"""Cells for the name of a process."""
_BELOW = 24
"""Cells before an error that stands in lines of its own."""


class LiveTracer:
    """Writes facts as they come. May be called from one thread; a timer of its own writes the summaries.

    Args:
        stream: Where to.
        ink: What it shows; None: find out.
        seconds: A clock that never goes back.
        processes: Names of the processes that facts come from; where there are several, each line names its own.

    Attributes:
        expanded: Whether payloads are shown whole, below their message.
    """

    def __init__(
        self,
        stream: TextIO,
        ink: Ink | None = None,
        *,
        seconds: Callable[[], float] = monotonic,
        processes: Collection[str] = (),
    ) -> None:
        self._stream = stream
        found = Ink.of(stream) if ink is None else ink
        cut = ink is not None or stream.isatty()
        self._ink = found if cut else Ink(_LONGEST_LINE, found.colored, found.unicode)
        self._resizes = ink is None and cut
        self._seconds = seconds
        self._named = min(_LONGEST_NAME, max(map(cells, processes))) if len(processes) > 1 else 0
        self._depths: dict[str, int] = {}
        self._connected: dict[str, bool] = {}
        self._window = seconds()
        self._count = 0
        self._summary: Summary | None = None
        self._timer: threading.Timer | None = None
        self._broken: OSError | None = None
        self._lock = threading.Lock()
        self.expanded = False

    def facts(self, facts: Sequence[Fact]) -> None:
        """Show facts, each in a line, or in sum when there are too many.

        Raises:
            OSError: The stream can no longer be written to.
        """
        with self._lock:
            self._check()
            if self._resizes:
                self._ink = Ink.of(self._stream)  # the terminal may have another size by now
            for fact in facts:
                self._take(fact)

    def note(self, text: str) -> None:
        """Say one thing in one line."""
        with self._lock:
            self._check()
            self._write([(self._ink.mark("times"), "dim"), (f" {one_line(text)}", "")], "")

    def tick(self) -> None:
        """Write the sum of the second that is over, and stop summing up when it was a quiet one."""
        with self._lock:
            summary = self._summary
            if summary is None:
                return
            self._stop_timer()
            if summary.count:
                self._write(summary.row(self._ink), "")
            self._summary = None
            if summary.count > READABLE // 2:
                self._sum_up()
            else:
                self._window, self._count = self._seconds(), 0

    def close(self) -> None:
        """Write what is still to be told, then nothing more. Safe to call twice."""
        with self._lock:
            self._stop_timer()
            summary, self._summary = self._summary, None
            if summary is not None and summary.count and self._broken is None:
                self._write(summary.row(self._ink), "")

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _take(self, fact: Fact) -> None:
        if self._is_told(fact):
            return
        self._remember(fact)
        if self._summary is None:
            now = self._seconds()
            if now - self._window >= 1:
                self._window, self._count = now, 0
            self._count += 1
            if self._count <= READABLE:
                self._write(*self._row(fact))
                self._expand(fact)
                return
            self._sum_up()
        if self._summary is not None and self._summary.add(fact):
            self._write(*self._row(fact))

    def _is_told(self, fact: Fact) -> bool:
        """Whether it was said before: a message that went over a broker and has come, or a broker that others miss, too."""
        if fact.get("type") == _BROKER:
            return bool(self._named) and self._is_known(fact.get("data"))
        if "origin" not in fact or "bus" not in fact:
            return False
        if not self._named:  # by this process, if it was: what others have sent is told here when it comes
            return id_of(fact) in self._depths
        return fact["origin"] == fact.get("process") or not (fact.get("handlers") or fact.get("projections"))

    def _is_known(self, data: Any) -> bool:
        """Whether another process has told the same of a broker before."""
        if not isinstance(data, dict):
            return False
        broker, connected = str(data.get("broker")), bool(data.get("connected"))
        known, self._connected[broker] = self._connected.get(broker), connected
        return known is connected

    def _sum_up(self) -> None:
        """Count for a second from now on."""
        self._summary = Summary()
        self._timer = threading.Timer(1, self._tick_alone)
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick_alone(self) -> None:
        """Tick on the timer's thread, where nobody would see an error: it is kept for the next call."""
        try:
            self.tick()
        except OSError as error:
            self._broken = error

    def _write(self, runs: list[Run], error: str) -> None:
        """Write a line; an error that has no room in it stands below it, in whole."""
        ink = self._ink
        if error and width_of(runs) + 2 + cells(error) <= ink.width:
            runs, error = [*runs, (f"  {error}", "failed")], ""
        write(self._stream, ink.paint(ink.fit(runs, ink.width)))
        indent = min(_BELOW, ink.width // 4)
        for line in ink.wrap(error, ink.width - indent, _MOST_ERROR_LINES) if error else ():
            write(self._stream, ink.paint([(" " * indent, ""), (line, "failed")]))

    def _expand(self, fact: Fact) -> None:
        """Write a payload field by field, if that is wanted."""
        if not self.expanded or "bus" not in fact or not isinstance(fact.get("data"), dict):
            return
        indent = min(_BELOW, self._ink.width // 4)
        for name, value in list(fact["data"].items())[:_MOST_FIELDS]:
            line = payload_line({name: value}, _LONGEST_LINE)
            for at, part in enumerate(self._ink.wrap(line, self._ink.width - indent - 2, _MOST_FIELD_LINES)):
                write(self._stream, self._ink.paint([(" " * (indent + 2 * (at > 0)), ""), (part, "dim")]))

    def _remember(self, fact: Fact) -> None:
        if "bus" in fact:
            self._depths[id_of(fact)] = self._depths.get(cause_of(fact), -1) + 1 if cause_of(fact) else 0
            if len(self._depths) > _REMEMBERED:
                del self._depths[next(iter(self._depths))]

    def _row(self, fact: Fact) -> tuple[list[Run], str]:
        """Draw a fact; gives the error apart, which may need lines of its own."""
        at = moment(fact.get("time"))
        error = ""
        if fact.get("type") in (HANDLED, STARTED):
            handling = read_handling(fact)
            at = None if at is None else at + (handling.took_ms or 0.0) / 1000  # lines stand in the order of their end
            depth, told = self._depths.get(cause_of(fact), 0) + 1, self._handling(handling)
            error = error_words(handling.error) if handling.error else ""
        elif "bus" in fact:
            depth, told = self._depths.get(id_of(fact), 0), self._message(fact)
        else:
            told, error = self._notice(fact)
            return [(f"{clock(at)[11:] or '?':12} ", "dim"), *self._process(fact), *told], error
        when: Run = (f"{clock(at)[11:] or '?':12} ", "dim")
        return [when, *self._group(fact), *self._process(fact), (self._indent(depth), "dim"), *told], error

    def _process(self, fact: Fact) -> list[Run]:
        """Name the process of a fact, where there are several."""
        if not self._named:
            return []
        name = self._ink.cut(one_line(fact.get("process") or ""), self._named)
        return [(f"{name}{' ' * (self._named - cells(name))} ", "dim")]

    def _group(self, fact: Fact) -> list[Run]:
        correlation = one_line(fact.get("correlationid") or "")[-8:]
        return [(f"{correlation:8} ", GROUPS[sum(map(ord, correlation)) % len(GROUPS)])]

    def _indent(self, depth: int) -> str:
        bar, most = self._ink.mark("bar"), max(4, self._ink.width // 8)
        if depth <= most:
            return f"{bar} " * depth
        more = f"{self._ink.mark('more')}{depth} "
        return more + f"{bar} " * (most - 2)

    def _message(self, fact: Fact) -> list[Run]:
        kind, ink = kind_of(fact), self._ink
        position = f" #{one_line(fact['position'])}" if "position" in fact else ""
        taken = f"  {takers(fact)}" if takers(fact) else ""
        runs = [(ink.mark(kind), kind), (f" {one_line(fact.get('type'))}", kind), (position + taken, "dim")]
        payload = payload_line(fact.get("data"), max(0, ink.width - width_of(runs)))
        return [*runs, (f"  {payload}" if payload else "", "dim")]

    def _handling(self, handling: Handling) -> list[Run]:
        ink = self._ink
        style = {"ok": "ok", "running": "dim", "cancelled": "warning", "retried": "warning", "ignored": "dim"}.get(
            handling.outcome, "failed bold"
        )
        runs: list[Run] = [(ink.mark(handling.outcome), style), (f" {one_line(handling.handler)}", "")]
        if handling.outcome != "ok":
            runs.append((f"  {one_line(handling.outcome)}", style))
        if handling.attempt > 1:
            runs.append((f"  attempt {handling.attempt}", "dim"))
        if handling.took_ms is not None:
            runs.append((f"  {duration(handling.took_ms, ink)}", ""))
        if handling.queued_ms > _SLOW_QUEUE_MS:
            runs.append((f"  waited {duration(handling.queued_ms, ink)}", "warning"))
        if handling.outcome != "ok":
            runs.append((f"  on {one_line(handling.message or '?')}", "dim"))
        return runs

    def _notice(self, fact: Fact) -> tuple[list[Run], str]:
        name, said = notice_words(fact)
        data = fact.get("data")
        mark = self._ink.mark("times")
        if name == "failed_reload":
            again = not isinstance(data, dict) or data.get("served", True)
            return [(f"{mark} not {'reloaded' if again else 'started'}", "failed bold")], said
        away = name == "broker" and isinstance(data, dict) and not data.get("connected")
        return [(f"{mark} {name}", "warning" if name == "dropped" or away else "bold"), (f"  {said}", "")], ""
