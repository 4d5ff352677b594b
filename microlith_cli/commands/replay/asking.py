"""The question before handlers run again: what they do outside really happens."""

import sys

import typer

from microlith_cli.console import plain
from microlith_cli.console.ink import one_line
from microlith_cli.errors import UsageError


def can_ask() -> bool:
    """Tell whether there is a terminal to ask on."""
    there = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
    return there and not plain.settings.as_json


def check_can_ask(*, yes: bool) -> None:
    """Refuse to go on where nobody has said yes, and nobody can be asked.

    Raises:
        UsageError: So it is.
    """
    if not yes and not can_ask():
        raise UsageError(
            "Handlers really run, so that mails are sent and files written again, and there is no terminal to ask on.",
            hint="Add --yes if that does no harm.",
        )


def agreed(message: str, *, yes: bool) -> bool:
    """Ask whether handlers shall run for a message."""
    return yes or typer.confirm(
        f"Handlers of {one_line(message)} really run, with all they do outside. Go on?", err=True
    )
