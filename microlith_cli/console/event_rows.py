"""Events of the log, as rows and as blocks: position and stream first, then what happened.

    17  2026-11-23T12:00:00.123Z  9e3779b1  auth/16  UserLoggedInEvent  sid=1 user_id=7

Everything that comes from data is escaped here.
"""

import sys
from collections.abc import Mapping
from typing import Any

from microlith_cli.console import blocks
from microlith_cli.console.ink import Ink, Run, one_line
from microlith_cli.console.payload import payload_line

_LONGEST_PAYLOAD = 2000
_TIME = 23
_FACTS = {
    "position": "position",
    "stream": "stream",
    "streamposition": "stream position",
    "component": "component",
    "version": "version",
    "time": "time",
    "id": "message id",
    "correlationid": "correlation id",
    "causationid": "causation id",
    "depth": "depth",
    "headers": "headers",
    "unreadable": "unreadable",
}


def event_row(event: Mapping[str, Any], ink: Ink) -> str:
    """Write one event as a line; cut where a terminal ends."""
    place = f"{one_line(event['stream'], 60)}/{event['streamposition']}"
    told = event.get("unreadable")
    payload = one_line(told) if told else payload_line(event.get("data"), _LONGEST_PAYLOAD)
    runs: list[Run] = [
        (f"{event['position']:>6}", "bold"),
        (f"  {one_line(event['time'])[:_TIME]}Z  {one_line(str(event['id'])[-8:])}  {place}  ", ""),
        (one_line(event["type"]), "event"),
        (f"  {payload}" if payload else "", "failed" if told else "dim"),
    ]
    return ink.paint(ink.fit(runs, ink.width) if sys.stdout.isatty() else runs)


def event_block(event: Mapping[str, Any]) -> str:
    """Show one event: its payload, then all that is known about it."""
    facts = {shown: event[name] for name, shown in _FACTS.items() if name in event}
    return "\n".join([blocks.message_block({**event, "data": event.get("data", {})}), "", *blocks.pairs(facts)])
