"""One finding each: what was looked at, whether it is well, and what mends it.

Looks at files and at what it is given; asks nobody and opens no store.
"""

import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from microlith.tracing.log import CURRENT, LIMIT, PREVIOUS
from microlith.urls import masked
from microlith_cli.control import address
from microlith_cli.errors import UnsafeDirectoryError
from microlith_cli.places import shown
from microlith_cli.plurals import plural
from microlith_cli.project import STATE
from microlith_cli.sharing import base_of

Level = Literal["ok", "note", "warning", "error"]

PACKAGES = ("microlith", "pydantic", "typer", "rich", "watchfiles", "tomli", "jinja2", "uuid-utils")
EXPORTER = "opentelemetry-exporter-otlp-proto-http"
CONNECT_SECONDS = 1.0
LARGEST_WAL = 64 * 1024 * 1024
SOUND_SQLITE = (3, 51, 3)
SLOW_IMPORT_MS = 150.0
"""A module that takes so long is felt at every save."""
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Stable, such as "ML001"; see docs/cli.md.
        level: "ok" and "note" are well; "warning" and "error" are not.
        what: What was found.
        where: A file or folder; empty where there is none.
        fix: The command, or else the deed, that mends it.
    """

    code: str
    level: Level
    what: str
    where: str = ""
    fix: str = ""


def packages() -> Finding:
    """Say which Python and which packages there are."""
    there, missing = [], []
    for name in PACKAGES:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    if missing:
        return Finding("ML001", "error", f"{python}; not installed: {', '.join(missing)}", fix="pip install microlith")
    return Finding("ML001", "ok", f"{python}, {', '.join(there)}")


def spans(url: str) -> Finding:
    """Say whether the spans that the setting `otel` asks for can be made, and whether anybody takes them."""
    try:
        version(EXPORTER)
    except PackageNotFoundError:
        what = f"otel is set, and {EXPORTER} is not installed: the application does not start"
        return Finding("ML016", "error", what, fix='pip install "microlith[otel]"')
    shown = masked(url)
    try:
        parts = urlsplit(url)
        place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        with socket.create_connection(place, CONNECT_SECONDS):
            return Finding("ML016", "ok", f"spans go to {shown}")
    except (OSError, ValueError) as error:
        what = f"spans go to {shown}, where nobody takes them: {error}"
        return Finding("ML016", "warning", what, fix="start the receiver, or correct otel in [tool.microlith]")


def directory(state: Path) -> Finding:
    """Say whether the project's own folder is this user's alone."""
    try:
        with address.opened(state) as descriptor:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    except FileNotFoundError:
        return Finding("ML003", "ok", f"{STATE} is not there yet; it is made when something runs", str(state))
    except UnsafeDirectoryError as error:
        return Finding("ML003", "error", str(error), str(state), error.hint)
    if mode & 0o077:
        return Finding(
            "ML003", "warning", f"other users may look into it (mode {mode:o})", str(state), f"chmod 700 {STATE}"
        )
    return Finding("ML003", "ok", "only you may enter it", str(state))


def nothing_runs(state: Path) -> Finding:
    """Say that nothing runs, and whether a socket was left."""
    for name in (address.SOCKET, address.POINTER):
        if (state / name).exists():
            what = "nothing runs; the socket is left from a run that was killed, and the next one replaces it"
            mend = "microlith run" if state.name == STATE else f"microlith run --component {base_of(state.name)}"
            return Finding("ML004", "note", what, str(state / name), mend)
    return Finding("ML004", "ok", "nothing runs")


def standing(status: Mapping[str, Any]) -> str:
    """Say in a word how a process stands to those that share its store; nothing of one that has a store for itself."""
    if not status.get("shared"):
        return ""
    return ", leads the store it shares" if status["leads"] else ", shares the store that another process leads"


def store_path(url: str, root: Path) -> Path | None:
    """Find the file that a store's url names; None when it names none."""
    scheme, _, rest = url.partition(":")
    name = rest.partition("?")[0]
    return root / name if scheme == "sqlite" and name else None


def imports(told: Mapping[str, Any], root: Path) -> Finding:
    """Say how long the project's modules took to be imported, and name the slow ones: every reload waits for them."""
    count = int(told["modules"])
    what = f"{plural(count, 'module')} of the project imported in {told['ms']:,.0f} ms"
    slow = [row for row in told["slowest"] if row["ms"] >= SLOW_IMPORT_MS]
    if not slow:
        return Finding("ML020", "ok", what)
    named = []
    for row in slow[:MOST_NAMED]:
        mostly = f", {row['mostly_ms']:,.0f} of them {row['mostly']}" if "mostly" in row else ""
        named.append(f"{shown(Path(row['file']), root)} {row['ms']:,.0f} ms{mostly}")
    more = f"; and {len(slow) - MOST_NAMED} more" if len(slow) > MOST_NAMED else ""
    fix = "import what is slow where it is used: inside the handler, or in what builds a resource"
    return Finding("ML020", "note", f"{what}, and every reload waits for that: {'; '.join(named)}{more}", fix=fix)


def store_place(url: str, root: Path) -> str:
    """Say where a store is: its file, or its url without a password; "" for one in memory."""
    path = store_path(url, root)
    return str(path) if path is not None else "" if url == "memory:" else masked(url)


def database(where: str, events: int | None) -> Iterator[Finding]:
    """Say how many events a store in a database holds; None where it has not been made yet."""
    if events is None:
        yield Finding("ML007", "ok", "the store is not there yet; it is made at the first start", where)
    else:
        yield Finding("ML007", "ok", plural(events, "event"), where)


def unhandled(names: Sequence[str]) -> Finding:
    """Name the commands and queries that nobody handles."""
    if not names:
        return Finding("ML006", "ok", "every command and query has a handler")
    return Finding("ML006", "note", f"nobody handles {', '.join(names)}", fix=f"microlith describe {names[0]}")


def file(path: Path | None, events: int) -> Iterator[Finding]:
    """Say how large the store's file and its write-ahead log are."""
    if path is None:
        yield Finding("ML007", "ok", "the store is in memory: it ends with the process")
        return
    if not path.exists():
        yield Finding("ML007", "ok", "the store is not there yet; it is made at the first start", str(path))
        return
    size, log = path.stat().st_size, _size(Path(f"{path}-wal"))
    yield Finding("ML007", "ok", f"{plural(events, 'event')} in {_bytes(size)}", str(path))
    if log > LARGEST_WAL:
        what = f"the write-ahead log has {_bytes(log)}: something reads the file without end, or it was killed often"
        yield Finding("ML008", "warning", what, f"{path}-wal", "close what has the file open, then: microlith run")
    else:
        yield Finding("ML008", "ok", f"the write-ahead log has {_bytes(log)}", f"{path}-wal")


def engine(engine: str) -> Iterator[Finding]:
    """Say which SQLite keeps the store; nothing of another engine."""
    name, _, number = engine.partition(" ")
    if name != "SQLite":
        return
    known = tuple(int(part) for part in number.split(".") if part.isdigit())
    if known < SOUND_SQLITE:
        what = (
            f"{engine}; before {'.'.join(map(str, SOUND_SQLITE))} several connections that write could damage the log"
        )
        yield Finding("ML009", "note", f"{what}, and microlith has one", fix="use a Python with a newer SQLite")
    else:
        yield Finding("ML009", "ok", engine)


def durability(kind: str) -> Finding:
    """Say what survives a power cut."""
    if kind == "fast":
        return Finding(
            "ML010", "note", "fast: a power cut may take the newest commits", fix="leave out ?durability=fast"
        )
    said = {"durable": "durable: what was accepted survives a power cut", "memory": "in memory: nothing survives"}
    return Finding("ML010", "ok", said.get(kind, kind))


MOST_SECONDS_BEHIND = 10.0
"""How old an event may get until a projection that is not inline has folded it, without being worth a word."""


def in_a_line(error: object) -> str:
    """Write the text of an error without its line breaks."""
    return " ".join(str(error).split())


def projections(rows: Sequence[Mapping[str, Any]], head: int, *, runs: bool) -> Iterator[Finding]:
    """Name the projections that stopped or lag."""
    troubled = False
    for row in rows:
        name, behind = row["name"], head - int(row["checkpoint"])
        if row["error"]:
            troubled = True
            at = f", {row['stopped_at']}" if row.get("stopped_at") else ""
            what = f"{name} stopped before position {int(row['checkpoint']) + 1}{at}: {in_a_line(row['error'])}"
            fix = f"correct it and start again, or build it anew: microlith replay projection {name}"
            yield Finding("ML011", "error", what, fix=fix)
        elif behind > 0 and runs and row.get("kind", "inline") != "inline":
            if row["seconds"] > MOST_SECONDS_BEHIND:
                troubled = True
                what = f"{name} is {plural(behind, 'event')} behind, the oldest of them {row['seconds']:.0f} s old"
                yield Finding("ML011", "warning", what, fix="see whether it gets less: microlith list --projections")
        elif behind > 0:
            troubled = True
            what = f"{name} is {plural(behind, 'event')} behind"
            fix = f"microlith replay projection {name}" if runs else "microlith run"
            yield Finding("ML011", "warning" if runs else "note", what, fix=fix)
    if not troubled:
        yield Finding("ML011", "ok", f"{plural(len(rows), 'projection')}, all up to the newest event")


def dead_letters(count: int) -> Finding:
    """Say how many messages were given up."""
    if not count:
        return Finding("ML012", "ok", "no dead letters")
    return Finding("ML012", "warning", f"dead letters: {count:,}", fix="microlith dead-letters")


def snapshots(checked: int, faults: Sequence[str], where: str) -> Iterator[Finding]:
    """Say which snapshots are of no use. Each is made anew when its stream is loaded next: nothing is lost."""
    for fault in faults:
        what = f"the snapshot {fault}; it is made anew from the events when its stream is loaded"
        yield Finding("ML015", "warning", what, where)
    if not faults:
        yield Finding(
            "ML015",
            "ok",
            f"{plural(checked, 'snapshot')} {'matches its checksum and its stream' if checked == 1 else 'match their checksums and their streams'}",
            where,
        )


def unreadable(kinds: Sequence[Mapping[str, Any]], where: str) -> Iterator[Finding]:
    """Say which events today's code cannot read. They are whole, and are read again once the code is mended."""
    for kind in kinds:
        count = plural(kind["events"], "event")
        what = (
            f"{count} {kind['type']}, stored as version {kind['version']}, the first at position {kind['first']}: "
            f"{in_a_line(kind['problem'])}"
        )
        # What nothing declares is never asked for; what is declared ends whoever reads it.
        level: Level = "warning" if kind["gone"] else "error"
        yield Finding("ML017", level, what, where, f"{kind['hint']} See one: microlith events show {kind['first']}")
    if not kinds:
        yield Finding("ML017", "ok", "every event can be read by the code as it is", where)


def trace_log(state: Path) -> Finding:
    """Say how large the trace log is."""
    size = _size(state / CURRENT) + _size(state / PREVIOUS)
    return Finding(
        "ML013", "ok", f"the trace log has {_bytes(size)} of at most {_bytes(2 * LIMIT)}", str(state / CURRENT)
    )


def told(trouble: Any) -> str:
    """An error as the supervisor tells it, on one line."""
    if not isinstance(trouble, dict):
        return str(trouble)
    place = f"{trouble['file']}:{trouble['line']}: " if trouble.get("file") else ""
    return f"{place}{trouble.get('message', '')}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return plural(count, "byte")
