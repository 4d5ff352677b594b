"""Takes the tour of the README again and writes down what its commands print now: `python -m tests.docs.retake`.

Keeps the lines that the page leaves out left out. Read what has changed before you commit it.
"""

import os
import tempfile
from pathlib import Path

from tests.docs.conftest import quiet_terminal
from tests.docs.pages import blocks
from tests.docs.tour import CUT, Step, Tour, anywhere, steps, with_setup
from tests.meta.tree import ROOT

README = ROOT / "README.md"


def retake(page: Path) -> str:
    """The page with the output of its commands as it is now."""
    taken = steps([block for block in blocks(page, "console") if not with_setup(block)])
    with tempfile.TemporaryDirectory() as folder:
        tour = Tour(Path(folder), quiet_terminal(os.environ))
        try:
            for step in taken:
                tour.take(step)
        finally:
            tour.end()
    text = page.read_text("utf-8")
    for step in taken:
        if step.expected:
            text = text.replace(step.expected, shortened(step), 1)
    return text


def shortened(step: Step) -> str:
    """What a command printed, with the lines left out that the page leaves out, and nothing of this machine."""
    got = [line.rstrip() for line in anywhere(step.got).splitlines()]
    said = step.expected.splitlines()
    if CUT in said:
        first, last = said.index(CUT), len(said) - 1 - said.index(CUT)
        got = [*got[:first], CUT, *(got[-last:] if last else [])]
    return "".join(f"{line}\n" for line in got)


if __name__ == "__main__":
    README.write_text(retake(README), "utf-8")
