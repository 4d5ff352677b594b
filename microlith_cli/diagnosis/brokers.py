"""Findings about brokers: whether each is there and lets the application in, and whether it has what is needed there.

Asks the running application to look. Where none runs, it looks itself, with an application that is wired.

Takes no message and makes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microlith_cli.control.client import RemoteSession
from microlith_cli.diagnosis.findings import MOST_NAMED, Finding, in_a_line
from microlith_cli.errors import RefusedError
from microlith_cli.session import only_reply

if TYPE_CHECKING:
    from microlith import Microlith

CODES = ("ML021", "ML022")
_SHOW = "microlith broker setup --dry-run"


def asked(session: RemoteSession) -> Iterator[Finding]:
    """Have a running application look at its brokers."""
    try:
        rows = only_reply(session, {"verb": "brokers"})["brokers"]
    except RefusedError as error:
        yield Finding("ML021", "error", str(error), fix=error.hint)
        return
    yield from judged(rows, runs=True)


def at_rest(app: "Microlith") -> Iterator[Finding]:
    """Look at the brokers of an application that does not run."""
    # The runtime; where nothing runs only.
    import asyncio  # noqa: PLC0415

    from microlith.errors import MicrolithError  # noqa: PLC0415
    from microlith_cli.supervisor.examining import seen_of_brokers  # noqa: PLC0415

    try:
        rows = asyncio.run(seen_of_brokers(app))
    except MicrolithError as error:  # the buses are not configured right
        yield Finding("ML021", "error", in_a_line(error).rstrip("."), fix=error.hint)
        return
    yield from judged(rows, runs=False)


def judged(rows: Sequence[Mapping[str, Any]], *, runs: bool) -> Iterator[Finding]:
    """Judge what was seen of each broker; nothing where every bus is in memory."""
    for row in rows:
        broker, carries = row["broker"], ", ".join(row["carries"])
        if row["error"] is not None:
            what = f"{in_a_line(row['error']['message']).rstrip('.')}; it carries {carries}"
            yield Finding("ML021", "error", what, fix=row["error"]["hint"])
            continue
        yield Finding("ML021", "ok", f"{broker} answers and lets this application in; it carries {carries}")
        yield from _topology(broker, row["changes"], runs=runs)


def _topology(broker: str, changes: Sequence[Mapping[str, str]], *, runs: bool) -> Iterator[Finding]:
    for change in changes:
        if change["action"] == "differs":
            what = f"the {change['what']} {change['name']} at {broker} is not as it is needed: {change['detail']}"
            yield Finding("ML022", "error", in_a_line(what), fix=f"delete it there once it is empty; see {_SHOW}")
    missing = [f"{change['what']} {change['name']}" for change in changes if change["action"] == "create"]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        what = f"not at {broker}: {', '.join(missing[:MOST_NAMED])}{more}"
        if runs:
            yield Finding("ML022", "warning", what, fix="microlith broker setup")
        else:
            yield Finding("ML022", "note", f"{what}; made at the next start", fix="microlith broker setup")
    if not changes:
        yield Finding("ML022", "ok", f"{broker} has all that is needed there")
