"""The trace logs of several processes, read as one."""

import time

import pytest

from microlith.tracing.finding import find_correlation
from microlith.tracing.log import TraceLog, correlations, read_facts


def at(second: float) -> str:
    return f"2026-11-23T12:00:{second:09.6f}Z"


def sent(identifier: str, correlation: str, second: float, **more: object) -> dict[str, object]:
    about = {"id": identifier, "type": "Ping", "time": at(second), "correlationid": correlation}
    return {**about, "bus": "command", **more, "data": {}}


def handled(identifier: str, correlation: str, second: float, took_ms: float, outcome: str = "ok") -> dict[str, object]:
    data = {"handler": "shop.ping", "message": "Ping", "outcome": outcome, "took_ms": took_ms}
    about = {"id": f"{identifier}/shop.ping", "type": "microlith.handled", "time": at(second), "data": data}
    return {**about, "correlationid": correlation, "causationid": identifier}


@pytest.fixture
def logs(tmp_path):
    """Two processes: `one` sends a, c and d, `two` sends b and handles a and d; a came there late, by way of a broker."""
    one, two = tmp_path, tmp_path / "two"
    TraceLog(one).write([sent("a", "a", 1), sent("c", "c", 4), sent("d", "d", 6)])
    facts = [sent("b", "b", 2), sent("a", "a", 1, origin="one"), handled("a", "a", 5, 1500.0)]
    TraceLog(two).write([*facts, sent("d", "d", 6, origin="one"), handled("d", "d", 7, 1.0, "failed")])
    return [one, two]


def test_facts_stand_in_the_order_in_which_they_were_told(logs):
    told = [(fact["id"], fact.get("origin")) for fact in read_facts(logs)]

    assert told == [
        ("a", None),
        *(("b", None), ("a", "one")),
        *(("c", None), ("d", None)),
        *(("a/shop.ping", None), ("d", "one"), ("d/shop.ping", None)),
    ]
    assert {fact["id"] for fact in read_facts(logs, newest_first=True)} == {identifier for identifier, _ in told}
    assert next(iter(read_facts(logs, newest_first=True)))["id"] == "d/shop.ping"


def test_correlations_are_whole_and_the_last_begun_comes_first(logs):
    found = [(identifier, [fact["id"] for fact in facts]) for identifier, facts in correlations(logs)]

    assert found == [
        ("d", ["d", "d", "d/shop.ping"]),
        ("c", ["c"]),
        ("b", ["b"]),
        ("a", ["a", "a", "a/shop.ping"]),
    ]


def test_correlation_that_began_before_the_logs_comes_last(logs):
    TraceLog(logs[1]).write([handled("z", "z", 9, 1.0)])

    assert [identifier for identifier, _ in correlations(logs)][-1] == "z"


def test_payload_that_looks_like_a_fact_is_none(logs):
    inner = {"correlationid": "c", "causationid": "c", "time": at(59)}
    TraceLog(logs[1]).write([{**sent("e", "e", 8), "data": inner}])

    found = dict(correlations(logs))

    assert next(iter(found)) == "e"
    assert [fact["id"] for fact in found["c"]] == ["c"]


def test_torn_line_and_one_that_is_no_fact_are_passed_over(logs):
    with (logs[1] / "trace.jsonl").open("ab") as file:
        file.write(b'{"correlationid":"\\q"}\n{"correlationid":7}\n[]\n{"id":"a","correlationid":"a","bus":')

    assert [identifier for identifier, _ in correlations(logs)] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(("typed", "meant"), [("@last", "d"), ("@-2", "c"), ("@failed", "d"), ("b", "b")])
def test_correlation_is_found_in_whichever_log_it_is(logs, typed, meant):
    assert find_correlation(logs, typed) == meant


def test_last_of_two_large_logs_is_found_in_seconds(tmp_path):
    for name in ("one", "two"):
        log = TraceLog(tmp_path / name)
        pairs = (
            (sent(f"{name}{n}", f"{name}{n}", n % 60), handled(f"{name}{n}", f"{name}{n}", n % 60, 1.0))
            for n in range(20_000)
        )
        log.write(fact for pair in pairs for fact in pair)
    began = time.process_time()

    next(correlations([tmp_path / "one", tmp_path / "two"]))

    assert time.process_time() - began < 5
