"""A plan: what happens to each file, a line each, with the differences where they are asked for.

Decides nothing, and applies nothing.
"""

import sys
from collections.abc import Mapping
from typing import Any

from microlith_cli.console import plain
from microlith_cli.scaffolding.planning import Change, Plan

_CODES: Mapping[str, str] = {"create": "32", "remove": "31", "conflict": "31;1", "kept": "33"}
_WIDTH = max(map(len, ("unchanged", "conflict")))


def show_plan(plan: Plan, *, diff: bool) -> None:
    """Write the plan to stdout. A conflict is always shown with its difference.

    Args:
        plan: The plan.
        diff: Whether to show every difference.
    """
    for change in plan.changes:
        shown = plain.styled(f"{change.action:<{_WIDTH}}", _CODES.get(change.action, "2"), sys.stdout)
        why = f" ({change.why})" if change.why else ""
        plain.out(f"{shown}  {plain.escape(change.path)}{why}")
        if diff or change.action == "conflict":
            for line in change.diff():
                plain.out(_diff_line(line))


def show_outcome(plan: Plan, *, applied: bool) -> None:
    """Say on stderr what came of a plan, and what to type next."""
    done = plan.of("create") or plan.of("remove")
    verb = "removed" if plan.undone else "created"
    if not done:
        plain.err("nothing to do")
    elif applied:
        plain.err(f"{len(done)} {'file' if len(done) == 1 else 'files'} {verb}")
    else:
        plain.err(
            f"a dry run: {len(done)} {'file' if len(done) == 1 else 'files'} would be {verb}; nothing was written"
        )
    if plan.undone and applied and plan.of("kept"):
        plain.err("note  what is kept may need what was removed")
    for note in plan.notes:
        plain.err(f"note  {plain.escape(note)}")
    if applied and done:
        for command in plan.following:
            plain.err(f"next  {command}")


def print_plan(plan: Plan, *, diff: bool) -> None:
    """Write the plan to stdout as JSON, one object for each file."""
    for change in plan.changes:
        plain.out_json({"item": "file", **_described(change), **({"diff": list(change.diff())} if diff else {})})


def print_outcome(plan: Plan, *, applied: bool) -> None:
    """Write what came of a plan to stdout, as one JSON object."""
    counts = {action: len(plan.of(action)) for action in ("create", "unchanged", "kept", "conflict", "remove", "gone")}
    plain.out_json(
        {
            "item": "plan",
            "what": plan.what,
            "undo": plan.undone is not None,
            "applied": applied,
            **{action: count for action, count in counts.items() if count},
            "notes": list(plan.notes),
            "next": list(plan.following),
        }
    )


def _described(change: Change) -> dict[str, Any]:
    content = change.content if change.action == "create" else change.found or b""
    described = {"path": change.path, "action": change.action, "bytes": len(content)}
    return {**described, "why": change.why} if change.why else described


def _diff_line(line: str) -> str:
    code = {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
    text = plain.escape(line)
    return plain.styled(text, code, sys.stdout) if code else text
