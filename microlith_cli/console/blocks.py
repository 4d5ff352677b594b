"""Blocks: one message, or what is known about a type of messages, as a few plain lines.

Everything that comes from data is escaped here. Standard library only; what is drawn with frames and
trees is in the other modules of the console.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from microlith_cli.console.plain import escape, styled

_WIDEST_NAME = 24
_BOLD = "1"
_DIM = "2"


def short_id(message_id: str) -> str:
    """The last eight characters of an id: the first ones are a clock and look alike."""
    return message_id[-8:]


def message_block(message: Mapping[str, Any]) -> str:
    """Show a message, a CloudEvent: its type and short id, then its fields, one a line."""
    title = styled(escape(str(message.get("type"))), _BOLD, sys.stdout)
    number = styled(escape(short_id(str(message.get("id", "")))), _DIM, sys.stdout)
    data = message.get("data")
    rows = data if isinstance(data, dict) else {"data": data}
    return "\n".join([f"{title}  {number}", *pairs(rows)])


def accepted_block(message: Mapping[str, Any]) -> str:
    """Show that a message was accepted, with the ids to ask about it later."""
    title = styled(escape(str(message.get("type"))), _BOLD, sys.stdout)
    ids = {"message id": message.get("id"), "correlation id": message.get("correlationid")}
    due = message.get("due")
    return "\n".join([f"{title}  {'scheduled' if due else 'accepted'}", *pairs(ids | ({"due": due} if due else {}))])


def pairs(rows: Mapping[str, Any]) -> list[str]:
    """Show names and values below each other, aligned."""
    names = {name: escape(str(name)).replace("\n", "\\n") for name in rows}
    width = min(max(map(len, names.values()), default=0), _WIDEST_NAME)
    indent = "\n" + " " * (width + 4)
    return [f"  {names[name]:<{width}}  {_value(value).replace(chr(10), indent)}" for name, value in rows.items()]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows in columns as wide as they need; the last one is not padded."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]


def paragraphs(text: str, indent: str = "  ", width: int = 80) -> list[str]:
    """Wrap text that comes from a docstring."""
    return wrap(escape(" ".join(text.split())), width, initial_indent=indent, subsequent_indent=indent)


def _value(value: Any) -> str:
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
