"""The tours of the pages, taken for real: each command prints what the page says it prints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from microlith_cli import errors
from tests.docs.pages import blocks, table
from tests.docs.tour import Step, Tour, fits, steps, with_setup
from tests.meta.tree import ROOT

README = ROOT / "README.md"


@pytest.fixture
def tour(tmp_path: Path, outside: dict[str, str]) -> Iterator[Tour]:
    """A user in an empty folder."""
    tour = Tour(tmp_path, outside)
    yield tour
    tour.end()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_tour_of_the_readme_prints_what_it_says(tour: Tour):
    taken = steps([block for block in blocks(README, "console") if not with_setup(block)])
    for step in taken:
        tour.take(step)
    tour.end()

    differing = [step for step in taken if not fits(step)]

    assert not differing, "\n".join(f"{step.place} $ {step.typed}\n{step.got}" for step in differing)


def test_a_line_of_three_dots_stands_for_any_lines():
    step = Step("page:1", "ls", "one\n...\nfour\n", got="one\ntwo\nthree\nfour\n")

    assert fits(step)


def test_ids_times_and_durations_may_differ_and_nothing_else():
    page = "✓ e8f76666  2026-11-23 12:50:37.134  2 messages  1.3 ms\n"

    assert fits(Step("page:1", "x", page, got="✓ 01234567  2027-01-02 00:00:00.000  2 messages  941 µs\n"))
    assert not fits(Step("page:1", "x", page, got="✓ 01234567  2027-01-02 00:00:00.000  3 messages  941 µs\n"))


def test_exit_codes_of_the_readme_are_those_of_the_tool():
    codes = [int(row[0]) for row in table(README, "Exit codes")]

    assert codes == [
        errors.DONE,
        errors.SAID_NO,
        errors.WRONG_USAGE,
        errors.TIMED_OUT,
        errors.NOT_REACHABLE,
        errors.INTERRUPTED,
    ]
