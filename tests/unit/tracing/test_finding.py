"""Finding a correlation by what a person types."""

import pytest

from microlith.tracing.finding import AmbiguousTraceError, TraceNotFoundError, find_correlation
from microlith.tracing.log import TraceLog, correlations, last_correlations

FIRST = "019aaaaa-0000-7000-8000-0000aaaa1111"
SECOND = "019aaaaa-0000-7000-8000-0000aaaa2222"
THIRD = "019bbbbb-0000-7000-8000-0000cccc3333"
CHILD = "019aaaaa-0000-7000-8000-0000dddd4444"


def message(correlation, *, identifier=None, cause=None, type_name="LoginCommand"):
    fact = {
        "id": identifier or correlation,
        "type": type_name,
        "correlationid": correlation,
        "bus": "command",
        "data": {},
    }
    return fact if cause is None else {**fact, "causationid": cause}


def handled(correlation, outcome="ok", *, attempt=1):
    return {
        "id": f"{correlation}/auth.login",
        "type": "microlith.handled",
        "correlationid": correlation,
        "causationid": correlation,
        "data": {"handler": "auth.login", "message": "LoginCommand", "outcome": outcome, "attempt": attempt},
    }


@pytest.fixture
def directory(tmp_path):
    TraceLog(tmp_path).write(
        [
            message(FIRST),
            message(CHILD, identifier=CHILD, cause=FIRST) | {"correlationid": FIRST, "type": "UserLoggedInEvent"},
            message(SECOND),
            handled(SECOND, "failed"),
            message(THIRD, type_name="LogoutCommand"),
            handled(FIRST),
            handled(THIRD),
        ]
    )
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (FIRST, FIRST),
        ("019aaaaa-0000-7000-8000-0000aaaa1", FIRST),
        ("019b", THIRD),
        ("aaaa2222", SECOND),
        ("aaaa2", SECOND),
        ("cc", THIRD),
        (CHILD, FIRST),
        ("dddd", FIRST),
        ("@last", THIRD),
        ("@-1", THIRD),
        ("@-2", SECOND),
        ("@-3", FIRST),
        ("@failed", SECOND),
    ],
)
def test_correlation_is_found_by(directory, typed, meant):
    assert find_correlation(directory, typed) == meant


@pytest.mark.parametrize("typed", ["aaaa", "019a", "0"])
def test_beginning_of_several_ids_is_refused_with_all_of_them(directory, typed):
    with pytest.raises(AmbiguousTraceError) as caught:
        find_correlation(directory, typed)

    assert {FIRST, SECOND} <= set(caught.value.candidates)
    assert "aaaa1111 (LoginCommand)" in str(caught.value)


def test_many_candidates_are_counted_not_listed(tmp_path):
    TraceLog(tmp_path).write([message(f"019aaaaa-0000-7000-8000-0000aaaa{n:04}") for n in range(100)])

    with pytest.raises(AmbiguousTraceError, match="and 95 more"):
        find_correlation(tmp_path, "aaaa")


@pytest.mark.parametrize(
    "typed", ["zzz", "@-4", "@-0", "@first", "", "@", "@-", "@-²", "@-" + "9" * 5000, "*", "%", "\x1b[2J", "\ud800"]
)
def test_what_means_nothing_is_not_found(directory, typed):
    with pytest.raises(TraceNotFoundError, match="newest 3 correlations"):
        find_correlation(directory, typed)


def test_error_names_what_looks_alike_and_where_it_looked(directory):
    with pytest.raises(TraceNotFoundError) as caught:
        find_correlation(directory, "aaaa2212")

    assert caught.value.nearest[0] == "aaaa2222"
    assert "aaaa2222 (LoginCommand)" in caught.value.hint
    assert str(directory / "trace.jsonl") in str(caught.value)


def test_nothing_failed_is_said_so(tmp_path):
    TraceLog(tmp_path).write([message(FIRST), handled(FIRST)])

    with pytest.raises(TraceNotFoundError, match="no message failed"):
        find_correlation(tmp_path, "@failed")


def test_nothing_traced_says_what_to_do(tmp_path):
    with pytest.raises(TraceNotFoundError, match="does not exist") as caught:
        find_correlation(tmp_path, "@last")

    assert "microlith run" in caught.value.hint


def test_failure_that_was_mended_by_a_later_attempt_is_none(tmp_path):
    TraceLog(tmp_path).write(
        [
            message(FIRST),
            handled(FIRST, "failed"),
            message(SECOND),
            handled(SECOND, "failed"),
            handled(SECOND, attempt=2),
        ]
    )

    assert find_correlation(tmp_path, "@failed") == FIRST


def test_last_correlations_are_the_ones_that_began_last(directory):
    found = last_correlations(directory, 2)

    assert [identifier for identifier, _ in found] == [THIRD, SECOND]
    assert [fact["type"] for fact in found[1][1]] == ["LoginCommand", "microlith.handled"]


def test_correlation_that_began_before_the_log_comes_last(tmp_path):
    orphan = {**message(SECOND, identifier=CHILD, cause="gone")}
    TraceLog(tmp_path).write([message(FIRST), orphan])

    assert [identifier for identifier, _ in correlations(tmp_path)] == [FIRST, SECOND]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"correlationid": 7},
        {"correlationid": [], "id": {}},
        {"id": FIRST},
        {"data": None},
        {"id": "x", "correlationid": "y", "causationid": "z", "type": "microlith.handled", "data": {"outcome": []}},
    ],
)
def test_facts_of_another_shape_are_passed_over(directory, odd):
    TraceLog(directory).write([odd])

    assert find_correlation(directory, FIRST[:34]) == FIRST
    assert find_correlation(directory, "@last") == THIRD
    assert find_correlation(directory, "@failed") == SECOND
