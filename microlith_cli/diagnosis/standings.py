"""Where projections stand: asked of the running application, or read from the store of one that does not run.

Never an obstacle: where a store cannot be read, nothing is known of it.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from microlith_cli.control.client import RemoteSession
from microlith_cli.diagnosis.findings import in_a_line
from microlith_cli.errors import RefusedError
from microlith_cli.project import Project, load_app, meant
from microlith_cli.session import connect_leading, only_reply

Standing = Mapping[str, Any]

UNKNOWN: Standing = {"checkpoint": None, "behind": None, "seconds": None, "error": None, "stopped_at": None}


def read_standings(project: Project) -> Mapping[str, Standing]:
    """Find where each projection stands, by name; those of which nothing is known are left out."""
    attached = connect_leading(project)
    names = project.parts if attached is None else []
    if not names:
        return _standings(project, "", attached)
    found: dict[str, Standing] = {}
    for name in names:
        found |= _standings(project, name, connect_leading(project, name))
    return found


def _standings(project: Project, name: str, attached: RemoteSession | None) -> Mapping[str, Standing]:
    if attached is None:
        return _at_rest(project, name)
    with attached:
        try:
            store = only_reply(attached, {"verb": "store"})["store"]
        except RefusedError:
            return {}
    return {row["name"]: {fact: row.get(fact) for fact in UNKNOWN} for row in store["projections"]}


def told(standing: Standing) -> str:
    """Say where a projection stands in a few words."""
    if standing["checkpoint"] is None:
        return "not known"
    if standing["error"] is not None:
        at = f", {standing['stopped_at']}" if standing["stopped_at"] else ""
        return f"stopped before position {standing['checkpoint'] + 1}{at}: {in_a_line(standing['error'])}"
    if not standing["behind"]:
        return "up to date"
    for_so_long = f", {standing['seconds']:.1f} s" if standing["seconds"] is not None else ""
    return f"{standing['behind']:,} behind{for_so_long}"


def _at_rest(project: Project, name: str) -> Mapping[str, Standing]:
    # The driver and the user's code; where nothing runs only.
    from microlith.errors import MicrolithError  # noqa: PLC0415
    from microlith.event_store.at_rest import inspect_store  # noqa: PLC0415
    from microlith.places import store_beside  # noqa: PLC0415

    found: dict[str, Standing] = {}
    with suppress(MicrolithError, OSError), ExitStack() as stack:
        url = store_beside(load_app(project).store_place(), [name] if name else meant() or None)
        inspection = inspect_store(url, project.root)
        if inspection is None:
            return {}
        stack.enter_context(inspection)
        now = time.time()
        for projection, checkpoint, error in inspection.projections:
            after = inspection.event_after(checkpoint)
            seconds = None if after is None else round(max(0.0, now - after[1]), 3)
            found[projection] = {
                "checkpoint": checkpoint,
                "behind": inspection.head - max(checkpoint, -1),
                "seconds": 0.0 if after is None else seconds,
                "error": error,
                "stopped_at": after[0] if after is not None and error is not None else None,
            }
    return found
