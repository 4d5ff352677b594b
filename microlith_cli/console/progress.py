"""Progress of work that has an end, such as a rebuild: one line per piece of work, drawn over in place.

Where there is no terminal nothing is drawn: a log gains nothing from a line that moves.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from microlith_cli.console.ink import one_line
from microlith_cli.console.plain import settings, wants_color

Advance = Callable[[str, int, int], None]
"""Tells how far something is: its name, how much is done, how much there is."""


@contextmanager
def show_progress(stream: TextIO) -> Iterator[Advance]:
    """Show progress while the block runs; gives the function that is told how far each thing is."""
    if not stream.isatty() or settings.verbosity < 0:
        yield _unseen
        return
    # Costs 150 ms, for what takes long anyway.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=stream, no_color=not wants_color(stream), markup=False, highlight=False, emoji=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed meanwhile goes above the bars, unless stdout leads to a file or a pipe.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(one_line(name, 60), total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield advance


def _unseen(name: str, done: int, total: int) -> None:
    """Show nothing."""
