"""A correlation as a Mermaid sequence diagram: components in columns, messages between them.

Solid arrows are commands and queries, dashed ones events and responses, a cross is a failure.
Every character that could mean something to Mermaid is written as its number.

Source: https://mermaid.js.org/syntax/sequenceDiagram.html
"""

import re
from collections.abc import Iterator

from microlith_cli.causation import Handling, Message, Tree
from microlith_cli.console.ink import Ink, duration, one_line

_OUTSIDE = "outside"
_LONGEST = 120
_PLAIN = Ink(unicode=True)
_MEANT = re.compile(r"[^A-Za-z0-9 _.,()/+*=!?@µ-]")
_KEYWORD = re.compile(r"\bend\b", re.IGNORECASE)
"""Ends a block, even inside a text."""


def mermaid_lines(tree: Tree) -> Iterator[str]:
    """Write one correlation as the lines of a diagram."""
    drawn = _Diagram()
    arrows = list(drawn.arrows(tree))
    yield "sequenceDiagram"
    for name, alias in drawn.participants.items():
        yield f"    participant {alias} as {_said(name)}"
    yield from (f"    {arrow}" for arrow in arrows)


class _Diagram:
    """Names its participants as they appear."""

    def __init__(self) -> None:
        self.participants: dict[str, str] = {}

    def arrows(self, tree: Tree) -> Iterator[str]:
        """Write the messages, parents before children."""
        rest: list[tuple[str, str, Message]] = [(_OUTSIDE, _OUTSIDE, message) for message in tree.tops[::-1]]
        while rest:
            sender, asker, message = rest.pop()
            yield from self._message(sender, asker, message)
            below = [(handling.component, sender, child) for handling in message.handlings for child in handling.sent]
            below += [(message.component or sender, sender, child) for child in message.sent]
            rest += below[::-1]

    def _message(self, sender: str, asker: str, message: Message) -> Iterator[str]:
        origin = self._alias(sender)
        line = "-->>" if message.kind in {"event", "response"} else "->>"
        name = _said(message.type or "?")
        if not message.handlings and message.kind == "event":
            yield f"Note over {origin}: {name}{' (no handler)' if message.unhandled else ''}"
        elif not message.handlings:
            target = self._alias(asker if message.kind == "response" else message.component or sender)
            yield f"{origin}{line}{target}: {name}"
        for handling in message.handlings:
            target = self._alias(handling.component)
            yield f"{origin}{'-x' if handling.failed else line}{target}: {name}{_timing(handling)}"
            if handling.failed:
                error = handling.error or {}
                said = f"{error.get('type') or handling.outcome}: {error.get('message') or ''}".removesuffix(": ")
                yield f"Note over {target}: {_said(handling.handler)} {_said(said)}"

    def _alias(self, name: str) -> str:
        return self.participants.setdefault(name, f"p{len(self.participants)}")


def _timing(handling: Handling) -> str:
    attempt = f", attempt {handling.attempt}" if handling.attempt > 1 else ""
    took = "running" if handling.took_ms is None else duration(handling.took_ms, _PLAIN)
    return f" ({took}{attempt})"


def _said(text: str) -> str:
    """Escape a text for any place in a diagram."""
    shown = one_line(text)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    shown = _MEANT.sub(lambda match: f"#{ord(match[0])};", shown)
    return _KEYWORD.sub(lambda match: f"#{ord(match[0][0])};{match[0][1:]}", shown) or "?"
