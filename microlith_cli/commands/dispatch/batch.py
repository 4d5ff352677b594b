"""`dispatch --batch`: many messages from JSON lines, some at a time, and a summary at the end.

A line that cannot be sent is an error like any other; the rest goes on.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from microlith_cli.commands.dispatch.wish import GRACE, Wish
from microlith_cli.console import plain
from microlith_cli.console.blocks import columns
from microlith_cli.errors import DONE, SAID_NO, ToolError, UsageError
from microlith_cli.filling import complete, read_object
from microlith_cli.session import Session, message_named, only_reply
from microlith_cli.strict_json import MAX_PAYLOAD

_MOST_ERRORS = 20
_KEPT_ERRORS = 10_000
"""Different errors told apart: far more than are shown, so that the order in which they come decides nothing."""
_SHOWN_ERROR = 200
_PERCENTILES = (50, 95, 99)


@dataclass(slots=True)
class Outcome:
    """What came of the messages so far.

    Attributes:
        took: Seconds from sending to the end, of those that ended well.
        errors: How often each error came, and the first line it came for.
        untold: The same for all errors that came when there were too many.
        codes: How often each exit code came.
    """

    took: list[float] = field(default_factory=list)
    errors: dict[str, tuple[int, int]] = field(default_factory=dict)
    untold: tuple[int, int] | None = None
    codes: Counter[int] = field(default_factory=Counter)

    def fail(self, line: int, message: str, code: int) -> None:
        """Note that a message did not end well."""
        self.codes[code] += 1
        shown = message[:_SHOWN_ERROR]
        if shown in self.errors or len(self.errors) < _KEPT_ERRORS:
            self.errors[shown] = _together((1, line), self.errors.get(shown))
        else:
            self.untold = _together((1, line), self.untold)

    @property
    def exit(self) -> int:
        """0 when all ended well; the one code of all that did not; 1 when there are several."""
        return DONE if not self.codes else next(iter(self.codes)) if len(self.codes) == 1 else SAID_NO

    def summary(self, seconds: float) -> dict[str, Any]:
        """Put it into figures: milliseconds, and messages a second."""
        failed = self.codes.total()
        latencies = {f"p{share}": round(_percentile(self.took, share) * 1000, 3) for share in _PERCENTILES if self.took}
        rate = (len(self.took) + failed) / seconds if seconds else 0.0
        return {
            "sent": len(self.took) + failed,
            "ok": len(self.took),
            "failed": failed,
            "seconds": round(seconds, 3),
            "per_second": round(rate, 1),
            "ms": latencies,
            "errors": self._by_line(),
        }

    def _by_line(self) -> list[dict[str, Any]]:
        """List the errors by the first line of each; those behind the first few in one, at the end."""
        ordered = sorted(self.errors.items(), key=lambda item: item[1][1])
        others = self.untold
        for _, each in ordered[_MOST_ERRORS:]:
            others = _together(each, others)
        told = [*ordered[:_MOST_ERRORS], *([("other errors", others)] if others else [])]
        return [{"count": count, "line": line, "message": message} for message, (count, line) in told]


def _together(one: tuple[int, int], other: tuple[int, int] | None) -> tuple[int, int]:
    """Add up how often, and find the first line."""
    return one if other is None else (one[0] + other[0], min(one[1], other[1]))


def run_batch(session: Session, wish: Wish, source: str, at_once: int) -> int:
    """Send every line of a file or of stdin; returns the exit code."""
    catalog = only_reply(session, {"verb": "list"})["catalog"]
    entry = message_named(catalog, wish.type_name) if wish.type_name else None

    def requests(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, dict[str, Any] | ToolError]]:
        for number, line in lines:
            try:
                yield number, _request(wish, catalog, entry, line)
            except ToolError as error:
                yield number, error

    with ExitStack() as stack:
        file = _open(source, stack)
        outcome, seconds = send_many(session, requests(_lines(file)), at_once, wish.timeout, told=True)
    show_summary(outcome.summary(seconds))
    return outcome.exit


def send_many(
    session: Session,
    numbered: Iterable[tuple[int, dict[str, Any] | ToolError]],
    at_once: int,
    timeout: float,
    *,
    told: bool,
) -> tuple[Outcome, float]:
    """Send requests, some at a time; returns what came of them, and the seconds it took.

    Args:
        session: Whom to ask.
        numbered: Each request, or why it is none, with its number in errors.
        at_once: How many are under way at a time.
        timeout: Seconds each of them may wait.
        told: Whether messages that were waited for are written, as JSON.
    """
    outcome = Outcome()
    begun: dict[int, tuple[int, float]] = {}
    problems: dict[int, Mapping[str, Any]] = {}
    started = monotonic()

    def requests() -> Iterator[dict[str, Any]]:
        sent = 0
        for number, request in numbered:
            if isinstance(request, ToolError):
                outcome.fail(number, str(request), request.exit)
            else:
                begun[sent] = (number, monotonic())
                sent += 1
                yield request

    for number, reply in session.requests(requests(), at_once=at_once, patience=timeout + GRACE):
        if "matched" in reply and told and plain.settings.as_json:
            plain.out_json(reply["matched"])
        if "error" in reply:
            problems[number] = reply["error"]
        if reply.get("end"):
            _note(outcome, *begun.pop(number), reply, problems.pop(number, None))
    return outcome, monotonic() - started


def _request(wish: Wish, catalog: Mapping[str, Any], entry: Mapping[str, Any] | None, line: bytes) -> dict[str, Any]:
    given = read_object(line, "A line of --batch")
    if entry is None:
        name, given = given.get("type"), given.get("data", {})
        if not isinstance(name, str) or not isinstance(given, dict):
            raise UsageError(
                "A line of --batch without MESSAGE has a `type` and its `data`.",
                hint="Or name the MESSAGE for all lines.",
            )
        entry = message_named(catalog, name)
    return wish.request(complete(entry, list(wish.tokens), given), trace=False, type_name=entry["type"])


def _open(source: str, stack: ExitStack) -> BinaryIO:
    if source == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(source.removeprefix("@")).open("rb"))
    except OSError as error:
        raise UsageError(f"--batch {source}: {error.strerror or error}.") from error


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not empty with its number; one that is too long is cut, and refused as such."""
    number = 0
    while line := file.readline(MAX_PAYLOAD + 2):
        number += 1
        whole = line
        while len(whole) > MAX_PAYLOAD and not whole.endswith(b"\n"):
            whole = file.readline(MAX_PAYLOAD + 2)
            if not whole:
                break
        if line.strip():
            yield number, line


def _note(
    outcome: Outcome, line: int, begun: float, reply: Mapping[str, Any], problem: Mapping[str, Any] | None
) -> None:
    code = int(reply.get("exit", SAID_NO if problem else DONE))
    if code == DONE:
        outcome.took.append(monotonic() - begun)
    else:
        outcome.fail(line, str(problem["message"]) if problem else "a message of --fail-on came", code)


def _percentile(values: list[float], share: int) -> float:
    """Return the value that `share` of a hundred lie at or below."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def show_summary(summary: dict[str, Any]) -> None:
    """Write the figures, and what went wrong."""
    if plain.settings.as_json:
        plain.out_json({"summary": summary})
        return
    rate = f"{summary['per_second']:,.0f} a second"
    plain.out(
        f"{summary['sent']:,} sent  {summary['ok']:,} ok  {summary['failed']:,} failed  {summary['seconds']} s  {rate}"
    )
    if summary["ms"]:
        plain.out("  ".join(f"{name} {value:g} ms" for name, value in summary["ms"].items()))
    rows = [
        (f"{each['count']:,} x", plain.escape(each["message"]), f"first in line {each['line']}")
        for each in summary["errors"]
    ]
    for row in columns(rows):
        plain.out(row)
