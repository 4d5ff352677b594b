"""A state that was folded from events, and the steps that led to it.

  0  OpenedEvent  23:10:00
       owner    "" → ada
bank.Account account-42 after event 0 of 0
  owner    ada
  balance  0
"""

from collections.abc import Iterator, Mapping
from typing import Any

from microlith_cli.causation import moment
from microlith_cli.causation.comparing import ABSENT
from microlith_cli.console.ink import Ink, Run, clock, one_line
from microlith_cli.console.payload import payload_line

_LONGEST = 4096


def step_block(event: Mapping[str, Any], changes: Mapping[str, tuple[Any, Any]], ink: Ink) -> Iterator[str]:
    """Yield the lines of one event, and of what it changed."""
    yield ink.paint(
        [
            (f"{event['streamposition']:>3}  ", "dim"),
            (one_line(event["type"]), "event"),
            (f"  {clock(moment(event['time']))}", "dim"),
        ]
    )
    width = max((len(one_line(name)) for name in changes), default=0)
    for name, (before, after) in changes.items():
        runs: list[Run] = [(f"       {one_line(name):<{width}}  ", "bold"), (_value(before), "dim")]
        yield ink.paint([*runs, (f" {ink.mark('to')} ", "dim"), (_value(after), "")])
    if not changes:
        yield ink.paint([("       nothing changed", "dim")])


def state_block(told: Mapping[str, Any], state: Any, ink: Ink) -> Iterator[str]:
    """Yield the lines of a state."""
    yield ink.paint(
        [
            (one_line(told["name"]), "bold"),
            (f" {one_line(told['stream'])}", ""),
            (f"  after event {told['streamposition']} of {told['events'] - 1}", "dim"),
        ]
    )
    fields = state if isinstance(state, Mapping) else {"": state}
    width = max((len(one_line(name)) for name in fields), default=0)
    for name, value in fields.items():
        yield ink.paint([(f"  {one_line(name):<{width}}  ", "bold"), (_value(value), "")])


def _value(value: Any) -> str:
    if value == ABSENT:
        return ABSENT
    return one_line(payload_line({"": value}, _LONGEST).removeprefix("="))
