"""What a group leaves with its commits: what was settled above the offset that it commits, and whether more was handed out.

Written as text into the commit's metadata, so that people can read it and the next one of the group need not repeat what
has been done. What does not fit comes again.

Source: the idea of Confluent's parallel consumer, which keeps a bitmap there.
"""

import re
from collections.abc import Iterable
from typing import Final

UNTOUCHED: Final = "untouched"
"""Nothing from the committed offset on was ever handed out."""
LONGEST: Final = 4000
"""Characters; brokers take 4096 unless they are told otherwise."""

_SETTLED = "settled "
_RUN = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MOST = 100_000
"""Offsets that are believed; whoever writes more of them is nobody of ours."""


def write_mark(done: int, settled: Iterable[int], longest: int = LONGEST) -> str:
    """Write down which offsets above the committed one are settled: "settled 1,4-6" are the second, fifth to seventh."""
    runs: list[str] = []
    room = longest - len(_SETTLED)
    for first, last in _runs(offset - done for offset in sorted(settled)):
        run = str(first) if first == last else f"{first}-{last}"
        room -= len(run) + 1
        if room < 0:
            break
        runs.append(run)
    return _SETTLED + ",".join(runs) if runs else ""


def read_mark(done: int, mark: str | None) -> set[int]:
    """Read which offsets are settled; none where somebody else has written something else."""
    if mark is None or not mark.startswith(_SETTLED) or len(mark) > LONGEST:
        return set()
    settled: set[int] = set()
    for run in mark.removeprefix(_SETTLED).split(","):
        found = _RUN.fullmatch(run)
        if found is None or len(settled) > _MOST:
            return set()
        first, last = found.groups()
        settled.update(range(done + int(first), done + int(last or first) + 1))
    return settled


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
