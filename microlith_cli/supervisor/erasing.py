"""The verb that erases subjects, or counts what is stored about them."""

from collections.abc import Mapping
from typing import Any

from microlith import Microlith
from microlith_cli.errors import DONE, UsageError
from microlith_cli.supervisor.leading import check_leads

Line = dict[str, Any]

MOST_SUBJECTS = 1000


async def erased(app: Microlith, request: Mapping[str, Any]) -> Line:
    """Erase subjects and say what was found; with `dry_run`, only say it.

    Raises:
        LedElsewhereError: Another process leads the store; nothing was erased.
        UnknownSubjectError: Nothing is stored for one of them; nothing was erased.
    """
    subjects = request.get("subjects")
    if (
        not isinstance(subjects, list)
        or not 0 < len(subjects) <= MOST_SUBJECTS
        or not all(isinstance(one, str) and one for one in subjects)
    ):
        raise UsageError(f"`subjects` is a list of names, at least one and at most {MOST_SUBJECTS}.")
    if request.get("dry_run") is False:
        await check_leads(app.store, "Erasing")
    found = await app.erase(*dict.fromkeys(subjects), dry_run=request.get("dry_run") is not False)
    shown: Line = {
        "subjects": list(found.subjects),
        "events": found.events,
        "commands": found.commands,
        "dead_letters": found.dead_letters,
        "schedules": found.schedules,
        "plain": found.plain,
        "projections": list(found.projections),
        "outside": list(found.outside),
        "elsewhere": list(found.elsewhere),
        "stopped": dict(found.stopped),
        "done": found.done,
    }
    return {"erasure": shown, "end": True, "exit": DONE}
