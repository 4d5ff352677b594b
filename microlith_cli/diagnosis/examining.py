"""What is well with a project and what is not: findings, one after the other, each with a stable code.

Asks the running application. Where none runs, it imports and wires the project's own, starts nothing, and
reads the store without changing it; a store that another process owns is not opened.

Shows nothing and mends nothing.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from microlith.errors import MicrolithError, StoreLockedError
from microlith_cli.control.client import RemoteSession, attach
from microlith_cli.diagnosis import brokers, findings
from microlith_cli.diagnosis.findings import Finding
from microlith_cli.errors import (
    ConfigError,
    ConnectionLostError,
    NoProjectError,
    NothingRunsError,
    RefusedError,
    ToolError,
)
from microlith_cli.event_log.decoding import Unreadable
from microlith_cli.import_times import ImportTimes
from microlith_cli.plurals import plural
from microlith_cli.project import Project, find_project, load_app, meant
from microlith_cli.session import only_reply
from microlith_cli.supervisor.spans import receiver

if TYPE_CHECKING:
    from microlith.event_store.database.inspecting import Inspection
    from microlith.serialization import MessageTypes

Advance = Callable[[str, int, int], None]
Asked = RemoteSession | NothingRunsError | None
"""A process to ask, or why it does not answer, or that it does not run."""
Snapshots = tuple[int, Sequence[str]]
"""How many there are, and what is wrong with which."""


class Walked(NamedTuple):
    """What was found in a log.

    Attributes:
        events: How many match their checksums.
        snapshots: Those.
        unreadable: What today's code cannot read; None where the code is not there.
    """

    events: int
    snapshots: Snapshots
    unreadable: Sequence[Mapping[str, Any]] | None


_PAGE = 1000
_SILENCE = 600.0  # seconds: the structure of a large file is checked without a word


def examine(*, verify: bool, advance: Advance) -> Iterator[Finding]:
    """Look at the project that the current folder lies in.

    Args:
        verify: Also check every event against its checksums, and decode it.
        advance: Is told of each step how many of how many events are done.
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
    parts = project.parts
    whole = [""] if not parts or project.ran_whole else []
    of_brokers: set[Finding] = set()
    for part in (*whole, *parts):
        for finding in _processes(project, part, verify=verify, advance=advance):
            if finding not in of_brokers:  # no process has a broker of its own: what all see is told once
                yield finding
            if finding.code in brokers.CODES:
                of_brokers.add(finding)


def _processes(project: Project, part: str, *, verify: bool, advance: Advance) -> Iterator[Finding]:
    """Look at the process of the whole application, or of some components; of those that share a store, at each that runs."""
    places = project.places(part)
    first = next(iter(places))
    found = {name: _attached(folder) for name, folder in places.items() if not part or _may_look(folder)}
    there: Mapping[str, Asked] = {name: one for name, one in found.items() if one is not None} or {first: None}
    asked = next((name for name, one in there.items() if _leads(one)), next(iter(there)))
    for name, session in there.items():
        looks = partial(_process, project, part, places[name], session, verify=verify, advance=advance)
        for finding in looks(store=name == asked):
            named = (part or len(there) > 1) and finding.code not in brokers.CODES
            yield replace(finding, what=f"{name}: {finding.what}") if named else finding


def _attached(folder: Path) -> Asked:
    try:
        return attach(folder)
    except NothingRunsError as error:
        return error


def _may_look(folder: Path) -> bool:
    """Whether a folder can be looked into; why not is a finding."""
    return findings.directory(folder).level != "error"


def _leads(session: Asked) -> bool:
    return isinstance(session, RemoteSession) and bool(session.hello.get("leads", True))


def _process(
    project: Project,
    part: str,
    state: Path,
    session: Asked,
    *,
    store: bool,
    verify: bool,
    advance: Advance,
) -> Iterator[Finding]:
    """Look at one process, that runs or not; and at the store, unless that is another's to tell of."""
    if part:
        directory = findings.directory(state)
        if directory.level != "ok":
            yield directory
        if directory.level == "error":
            return
    if isinstance(session, NothingRunsError):
        yield Finding("ML004", "error", str(session), fix=session.hint)
    elif session is None:
        yield findings.nothing_runs(state)
    if isinstance(session, RemoteSession):
        with session:
            yield from _running(session, project, store=store, verify=verify, advance=advance)
    elif store:
        yield from _at_rest(project, part, verify=verify, advance=advance)
    yield findings.trace_log(state)


def _running(
    session: RemoteSession, project: Project, *, store: bool, verify: bool, advance: Advance
) -> Iterator[Finding]:
    status = only_reply(session, {"verb": "status"})["status"]
    since = datetime.fromtimestamp(time.time() - float(status["running_s"])).astimezone().isoformat(" ", "seconds")
    what = f"runs as process {status['pid']} since {since}, generation {status['generation']}"
    yield Finding("ML004", "ok", f"{what}{findings.standing(status)}")
    trouble = status.get("error")
    if trouble:
        yield Finding(
            "ML005", "error", f"the newest code does not serve: {findings.told(trouble)}", fix="correct it and save"
        )
    elif status["state"] == "starting":
        yield Finding("ML005", "note", "the application is not there yet: it is starting, or stands by")
    else:
        yield Finding("ML005", "ok", "the application is imported and serves")
    if "unhandled" not in status:  # nothing has served yet, so nobody can say more
        return
    yield findings.unhandled(status["unhandled"])
    if status.get("imports"):
        yield findings.imports(status["imports"], project.root)
    yield from brokers.asked(session)
    if store:
        yield from _store(session, project, verify=verify, advance=advance)


def _store(session: RemoteSession, project: Project, *, verify: bool, advance: Advance) -> Iterator[Finding]:
    try:
        store = only_reply(session, {"verb": "store"})["store"]
    except RefusedError as error:
        yield Finding("ML007", "error", str(error), fix=error.hint or "microlith run")
        return
    if store["failure"]:
        yield Finding("ML007", "error", store["failure"], fix="stop and start it: microlith run")
    url, events = str(store["url"]), int(store["head"]) + 1
    path, where = findings.store_path(url, project.root), findings.store_place(url, project.root)
    yield from findings.file(path, events) if path or url == "memory:" else findings.database(where, events)
    yield from findings.engine(str(store["engine"]))
    yield findings.durability(str(store["durability"]))
    yield from findings.projections(store["projections"], int(store["head"]), runs=True)
    yield findings.dead_letters(int(store["dead_letters"]))
    if verify:
        yield from _verified(lambda: _verify_running(session, advance), where)


def _verify_running(session: RemoteSession, advance: Advance) -> Walked:
    for reply in session.request({"verb": "verify", "decode": True}, patience=_SILENCE):
        if "progress" in reply:
            progress = reply["progress"]
            advance(str(progress["step"]), int(progress["done"]), int(progress["total"]))
        if "error" in reply:
            raise RefusedError(reply["error"], int(reply.get("exit", 1)))
        if reply.get("end"):
            return Walked(int(reply["verified"]), (reply["snapshots"][0], reply["snapshots"][1]), reply["unreadable"])
    raise ConnectionLostError


def _at_rest(project: Project, name: str, *, verify: bool, advance: Advance) -> Iterator[Finding]:
    # What follows imports pydantic and the user's code; beside a running application nothing needs them.
    from microlith.application.carriers import filled_url  # noqa: PLC0415
    from microlith.places import DEFAULT_STORE, store_beside  # noqa: PLC0415

    os.chdir(project.root)  # as under `run`: relative paths mean the same
    names: list[str] = []
    types: MessageTypes | None = None
    url = project.config.text("store.url") or DEFAULT_STORE
    # As under `run`: the user's modules do not pay for the runtime.
    import microlith.event_store.sqlite  # noqa: F401, PLC0415
    import microlith_cli.supervisor.worker  # noqa: F401, PLC0415

    imports = ImportTimes(project.root)
    try:
        with imports.taken():
            app = load_app(project)
            url = app.store_url
            app.wire()
        catalog, types = app.catalog(), app.types
    except (ToolError, MicrolithError) as error:
        yield Finding("ML005", "error", f"the application does not start: {error}", fix=error.hint or "correct it")
    else:
        names = [each["name"] for each in catalog["projections"]]
        yield Finding("ML005", "ok", "the application imports and is wired")
        yield findings.imports(imports.told(), project.root)
        yield findings.unhandled(
            [
                each["type"]
                for each in catalog["messages"]
                if each["kind"] in {"command", "query"} and not each["handlers"]
            ]
        )
        yield from brokers.at_rest(app)
    try:
        url = store_beside(filled_url("store", url, options=True), [name] if name else meant() or None)
    except MicrolithError as error:
        yield Finding("ML007", "error", str(error), fix=error.hint)
        return
    yield from _store_at_rest(url, project.root, names, types, verify=verify, advance=advance)
    yield findings.durability("memory" if url == "memory:" else "fast" if "durability=fast" in url else "durable")


def _store_at_rest(
    url: str, root: Path, names: Sequence[str], types: "MessageTypes | None", *, verify: bool, advance: Advance
) -> Iterator[Finding]:
    # The driver; where nothing runs only.
    from microlith.event_store.at_rest import inspect_store  # noqa: PLC0415

    if url.startswith("sqlite:"):
        from microlith.event_store.sqlite.connection import ENGINE  # noqa: PLC0415

        yield from findings.engine(ENGINE)
    path, where = findings.store_path(url, root), findings.store_place(url, root)
    try:
        with ExitStack() as stack:
            inspection = inspect_store(url, root)
            if inspection is None:
                yield from findings.file(path, 0) if path or url == "memory:" else findings.database(where, None)
                return
            stack.enter_context(inspection)
            yield from (
                findings.file(path, inspection.head + 1) if path else findings.database(where, inspection.head + 1)
            )
            known = [
                {**each._asdict(), "stopped_at": (inspection.event_after(each.checkpoint) or (None,))[0]}
                for each in inspection.projections
                if each.name in names
            ]
            yield from findings.projections(known, inspection.head, runs=False)
            yield findings.dead_letters(inspection.dead_letters)
            if verify:
                yield from _verified(lambda: _walk(inspection, url, root, types, advance), where)
    except StoreLockedError as error:
        # An application inside another program: well, but nobody can be asked.
        yield Finding(
            "ML007",
            "error" if verify else "note",
            f"{error} Nothing in it was looked at.",
            where,
            "stop that process",
        )
    except (MicrolithError, OSError) as error:
        hint = getattr(error, "hint", "") or "make the file readable"
        yield Finding("ML007", "error", str(error), where, hint)


def _walk(inspection: "Inspection", url: str, root: Path, types: "MessageTypes | None", advance: Advance) -> Walked:
    # For a store at rest only, as above.
    from microlith.event_store.at_rest import keys_at_rest  # noqa: PLC0415
    from microlith.privacy.keys import KeyRing  # noqa: PLC0415
    from microlith.serialization import MessageTypes  # noqa: PLC0415

    known = MessageTypes() if types is None else types
    events = inspection.verify(known, partial(advance, "checksums"))
    found = None
    if types is not None:
        with closing(keys_at_rest(url, root)) as keys:
            types.keys = KeyRing(keys)
            found = _decode(inspection, types, partial(advance, "decoding"))
    return Walked(events, inspection.check_snapshots(), found)


def _decode(
    inspection: "Inspection", types: "MessageTypes", progress: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    found = Unreadable()
    reader = inspection.reader(types) if inspection.head >= 0 else None
    while reader is not None and found.events <= inspection.head:
        found.look(reader.all(found.events - 1, _PAGE))
        progress(found.events, inspection.head + 1)
    return found.kinds


def _verified(walk: Callable[[], Walked], where: str) -> Iterator[Finding]:
    """Walk the log and the snapshots; damage is a finding, and so is whatever else keeps them from being walked."""
    try:
        events, (checked, faults), unreadable = walk()
    except (ToolError, MicrolithError) as error:
        yield Finding("ML014", "error", str(error), where, error.hint)
        return
    yield Finding(
        "ML014",
        "ok",
        f"{plural(events, 'event')} {'matches its checksum' if events == 1 else 'match their checksums'}",
        where,
    )
    yield from findings.snapshots(checked, faults, where)
    if unreadable is not None:
        yield from findings.unreadable(unreadable, where)
