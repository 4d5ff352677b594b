import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.transports.kafka.marks import LONGEST, UNTOUCHED, read_mark, write_mark


def test_mark_tells_runs_of_offsets_from_the_committed_one():
    assert write_mark(100, {101, 104, 105, 106, 109}) == "settled 1,4-6,9"


def test_nothing_settled_leaves_no_mark():
    assert write_mark(100, ()) == ""


@given(st.integers(0, 2**60), st.sets(st.integers(0, 99_999), max_size=200))
def test_mark_is_read_as_it_was_written(done, ahead):
    settled = {done + offset for offset in ahead}

    mark = write_mark(done, settled)

    assert len(mark) <= LONGEST
    assert read_mark(done, mark) == settled


def test_what_does_not_fit_is_left_out_from_the_end():
    settled = range(1, 20_000, 2)

    mark = write_mark(0, settled)

    assert len(mark) <= LONGEST
    kept = sorted(read_mark(0, mark))
    assert kept == list(settled)[: len(kept)]
    assert len(kept) > 700


@pytest.mark.parametrize(
    "mark",
    [
        None,
        "",
        UNTOUCHED,
        "settled",
        "settled ",
        "settled x",
        "settled 1-",
        "settled -1",
        "settled 1,,2",
        "settled 1-2-3",
        "settled 5-99999999999",
        "settled ²",
        "of somebody else",
        "settled " + "1," * 4000 + "1",
        "settled " + ",".join(["0-999999"] * 400),
    ],
)
def test_mark_of_somebody_else_says_nothing(mark):
    assert read_mark(7, mark) == set()
