"""What a batch of messages is summed up to."""

import random

import pytest

from microlith_cli.commands.dispatch import batch
from microlith_cli.commands.dispatch.batch import Outcome


def summed_up(failures):
    outcome = Outcome()
    for line, message in failures:
        outcome.fail(line, message, 1)
    return outcome.summary(1.0)["errors"]


@pytest.mark.parametrize("seed", range(5))
def test_errors_come_by_line_in_whatever_order_the_messages_ended(seed):
    failures = [(3, "late"), (1, "early"), (7, "late"), (5, "between"), (2, "late")]
    random.Random(seed).shuffle(failures)

    assert summed_up(failures) == [
        {"count": 1, "line": 1, "message": "early"},
        {"count": 3, "line": 2, "message": "late"},
        {"count": 1, "line": 5, "message": "between"},
    ]


def test_the_first_twenty_errors_are_told_and_the_others_counted():
    failures = [(line, f"error {line}") for line in range(30, 0, -1)]

    told = summed_up(failures)

    assert [error["line"] for error in told] == list(range(1, 22))
    assert told[-1] == {"count": 10, "line": 21, "message": "other errors"}


def test_errors_that_are_not_told_apart_any_more_are_counted(monkeypatch):
    monkeypatch.setattr(batch, "_KEPT_ERRORS", 2)

    assert summed_up([(4, "a"), (3, "b"), (2, "c"), (1, "d"), (5, "a")]) == [
        {"count": 1, "line": 3, "message": "b"},
        {"count": 2, "line": 4, "message": "a"},
        {"count": 2, "line": 1, "message": "other errors"},
    ]
