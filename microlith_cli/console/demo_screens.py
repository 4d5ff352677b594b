"""What `microlith demo` shows: each step with the command line that does it, its trace, and its tree.

Two screens, one for people and one for programs. Does nothing itself.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from microlith_cli.causation import build_trees
from microlith_cli.console import plain
from microlith_cli.console.ink import Ink
from microlith_cli.console.live import LiveTracer
from microlith_cli.console.tree import show_tree
from microlith_cli.plurals import plural

Fact = Mapping[str, Any]

_BOLD = "1"
_DIM = "2"


class DemoScreen:
    """Text for people, on stdout."""

    def __init__(self) -> None:
        self._steps = 0
        self._tracer: LiveTracer | None = None

    def step(self, title: str, command: str) -> None:
        """Begin a step: what for, and what to type for it."""
        self._steps += 1
        number = f"{self._steps}."
        plain.out("")
        plain.out(plain.styled(f"{number} {title}", _BOLD, sys.stdout))
        _show_command(command)

    def said(self, text: str) -> None:
        """Say what came of it."""
        plain.out(f"   {plain.escape(text)}")

    def fact(self, fact: Fact) -> None:
        """Show a fact of the live trace."""
        if self._tracer is None:
            self._tracer = LiveTracer(sys.stdout)
        self._tracer.facts([fact])

    def outcome(self, matched: Sequence[Fact], facts: Sequence[Fact], code: int, trace_command: str) -> None:
        """End a step: what was waited for has come, and the tree of all it caused."""
        self._settle()
        came = ", ".join(str(message.get("type")) for message in matched)
        self.said(f"{came} came; exit code {code}.")
        plain.out(plain.styled(f"   $ {trace_command}", _DIM, sys.stdout))
        for tree in build_trees(facts):
            show_tree(tree, sys.stdout)

    def rebuilt(self, rows: Sequence[Fact]) -> None:
        """Show that the read models came out as they were."""
        for row in rows:
            events = plural(int(row["events"]), "event")
            self.said(f"{row['projection']:<14} {events}  {row['after'][:12]} before and after")

    def end(self, following: Sequence[str], second: Sequence[str], kept: str) -> None:
        """Say what to type next, and what in a second terminal."""
        self._settle()
        plain.out("")
        plain.out(plain.styled("Your turn", _BOLD, sys.stdout))
        for command in following:
            _show_command(command)
        self.said("and in a second terminal:")
        for command in second:
            _show_command(command)
        if kept:
            self.said(f"The project of this demo stays in {kept}")

    def close(self) -> None:
        """Show what the tracer still has."""
        self._settle()

    def _settle(self) -> None:
        if self._tracer is not None:
            self._tracer.close()
            self._tracer = None


class JsonDemoScreen(DemoScreen):
    """One JSON object a line: steps, facts as they are traced, outcomes."""

    def step(self, title: str, command: str) -> None:
        """Write what is done."""
        self._steps += 1
        plain.out_json({"item": "step", "number": self._steps, "title": title, "command": command})

    def said(self, text: str) -> None:
        """Nothing: programs read facts."""

    def fact(self, fact: Fact) -> None:
        """Write a fact as it was traced."""
        plain.out_json(fact)

    def outcome(self, matched: Sequence[Fact], facts: Sequence[Fact], code: int, trace_command: str) -> None:
        """Write what was waited for."""
        del facts, trace_command
        plain.out_json({"item": "outcome", "number": self._steps, "exit": code, "matched": list(matched)})

    def rebuilt(self, rows: Sequence[Fact]) -> None:
        """Write what is known of each read model."""
        for row in rows:
            plain.out_json({"item": "rebuilt", **row, "changed": row["before"] != row["after"]})

    def end(self, following: Sequence[str], second: Sequence[str], kept: str) -> None:
        """Write that it is over."""
        plain.out_json({"item": "demo", "exit": 0, "kept": kept or None, "next": [*following, *second]})


def _show_command(command: str) -> None:
    """Show what to type; where the terminal is too narrow it goes on below, so that it can still be copied."""
    first, *options = plain.escape(command).split(" --")
    room = Ink.of(sys.stdout).width - len(" \\")
    line = f"   $ {first}"
    for option in options:
        if len(line) + len(" --") + len(option) > room:
            plain.out(f"{line} \\")
            line = f"       --{option}"
        else:
            line += f" --{option}"
    plain.out(line)
