"""What is well with a project and what is not: findings, one after the other, each with a stable code.

Asks the running application. Where none runs, it imports and wires the project's own, starts nothing, and
reads the store without changing it; a store that another process owns is not opened.

Shows nothing and mends nothing.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from microlith.errors import MicrolithError, StoreLockedError
from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.diagnosis import findings
from microlith_cli.diagnosis.findings import Finding
from microlith_cli.errors import (
    ConfigError,
    ConnectionLostError,
    NoProjectError,
    NothingRunsError,
    RefusedError,
    ToolError,
)
from microlith_cli.project import Project, find_project, load_app
from microlith_cli.session import only_reply
from microlith_cli.supervisor.spans import receiver

Advance = Callable[[int, int], None]
Snapshots = tuple[int, Sequence[str]]
"""How many there are, and what is wrong with which."""

_SILENCE = 600.0  # seconds: the structure of a large file is checked without a word


def examine(*, verify: bool, advance: Advance) -> Iterator[Finding]:
    """Look at the project that the current folder lies in.

    Args:
        verify: Also check every event against its checksums.
        advance: Is told how many of how many events were checked.
    """
    yield findings.packages()
    try:
        project = find_project()
        app = project.app
    except (NoProjectError, ConfigError) as error:
        yield Finding("ML002", "error", str(error), fix=error.hint)
        return
    yield Finding("ML002", "ok", f"project {project.name}, application {app}", str(project.root))
    if project.config.otel:
        yield findings.spans(receiver(project.config.otel))
    directory = findings.directory(project.state)
    yield directory
    if directory.level == "error":
        return
    try:
        session = attach(project.state)
    except NothingRunsError as error:
        yield Finding("ML004", "error", str(error), fix=error.hint)
        session = None
    else:
        if session is None:
            yield findings.nothing_runs(project.state)
    if session is None:
        yield from _at_rest(project, verify=verify, advance=advance)
    else:
        with session:
            yield from _running(session, project, verify=verify, advance=advance)
    yield findings.trace_log(project.state)


def _running(session: RemoteSession, project: Project, *, verify: bool, advance: Advance) -> Iterator[Finding]:
    status = only_reply(session, {"verb": "status"})["status"]
    since = datetime.fromtimestamp(time.time() - float(status["running_s"])).astimezone().isoformat(" ", "seconds")
    what = f"runs as process {status['pid']} since {since}, generation {status['generation']}"
    yield Finding("ML004", "ok", what)
    trouble = status.get("error")
    if trouble:
        yield Finding(
            "ML005", "error", f"the newest code does not serve: {findings.told(trouble)}", fix="correct it and save"
        )
    else:
        yield Finding("ML005", "ok", "the application is imported and serves")
    yield findings.unhandled(status["unhandled"])
    try:
        store = only_reply(session, {"verb": "store"})["store"]
    except RefusedError as error:
        yield Finding("ML007", "error", str(error), fix=error.hint or "microlith run")
        return
    if store["failure"]:
        yield Finding("ML007", "error", store["failure"], fix="stop and start it: microlith run")
    path = findings.store_path(store["url"], project.root)
    yield from findings.file(path, int(store["head"]) + 1)
    yield from findings.engine(str(store["engine"]))
    yield findings.durability(str(store["durability"]))
    yield from findings.projections(store["projections"], int(store["head"]), runs=True)
    yield findings.dead_letters(int(store["dead_letters"]))
    if verify:
        yield from _verified(lambda: _verify_running(session, advance), path)


def _verify_running(session: RemoteSession, advance: Advance) -> tuple[int, Snapshots]:
    for reply in session.request({"verb": "verify"}, patience=_SILENCE):
        if "progress" in reply:
            advance(int(reply["progress"]["done"]), int(reply["progress"]["total"]))
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", 1)))
        if reply.get("end"):
            return int(reply["verified"]), (reply["snapshots"][0], reply["snapshots"][1])
    raise ConnectionLostError


def _at_rest(project: Project, *, verify: bool, advance: Advance) -> Iterator[Finding]:
    # What follows imports pydantic and the user's code; beside a running application nothing needs them.
    from microlith.application.places import DEFAULT_STORE  # noqa: PLC0415
    from microlith.serialization import MessageTypes  # noqa: PLC0415

    os.chdir(project.root)  # as under `run`: relative paths mean the same
    names: list[str] = []
    types = MessageTypes()
    url = project.config.text("store.url") or DEFAULT_STORE
    try:
        app = load_app(project)
        url = app.store_url
        app.wire()
        catalog, types = app.catalog(), app.types
    except (ToolError, MicrolithError) as error:
        yield Finding("ML005", "error", f"the application does not start: {error}", fix=error.hint or "correct it")
    else:
        names = [each["name"] for each in catalog["projections"]]
        yield Finding("ML005", "ok", "the application imports and is wired")
        yield findings.unhandled(
            [
                each["type"]
                for each in catalog["messages"]
                if each["kind"] in {"command", "query"} and not each["handlers"]
            ]
        )
    yield from _store_at_rest(findings.store_path(url, project.root), names, types, verify=verify, advance=advance)
    yield findings.durability("memory" if url == "memory:" else "fast" if "durability=fast" in url else "durable")


def _store_at_rest(
    path: Path | None, names: Sequence[str], types: Any, *, verify: bool, advance: Advance
) -> Iterator[Finding]:
    # The driver; where nothing runs only.
    from microlith.event_store.sqlite.connection import ENGINE  # noqa: PLC0415
    from microlith.event_store.sqlite.inspecting import SQLiteInspection  # noqa: PLC0415

    yield from findings.engine(ENGINE)
    if path is None or not path.exists():
        yield from findings.file(path, 0)
        return
    try:
        with SQLiteInspection(path) as inspection:
            yield from findings.file(path, inspection.head + 1)
            known = [
                {**each._asdict(), "stopped_at": (inspection.event_after(each.checkpoint) or (None,))[0]}
                for each in inspection.projections
                if each.name in names
            ]
            yield from findings.projections(known, inspection.head, runs=False)
            yield findings.dead_letters(inspection.dead_letters)
            if verify:
                yield from _verified(lambda: (inspection.verify(types, advance), inspection.check_snapshots()), path)
    except StoreLockedError as error:
        # An application inside another program: well, but nobody can be asked.
        yield Finding(
            "ML007",
            "error" if verify else "note",
            f"{error} Nothing in it was looked at.",
            str(path),
            "stop that process",
        )
    except (MicrolithError, OSError) as error:
        hint = getattr(error, "hint", "") or "make the file readable"
        yield Finding("ML007", "error", str(error), str(path), hint)


def _verified(walk: Callable[[], tuple[int, Snapshots]], path: Path | None) -> Iterator[Finding]:
    """Walk the log and the snapshots; damage is a finding, and so is whatever else keeps them from being walked."""
    where = "" if path is None else str(path)
    try:
        events, (checked, faults) = walk()
    except (ToolError, MicrolithError) as error:
        yield Finding("ML014", "error", str(error), where, error.hint)
        return
    yield Finding("ML014", "ok", f"{events:,} events match their checksums", where)
    yield from findings.snapshots(checked, faults, where)
