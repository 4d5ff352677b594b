"""What the card of a start says of the buses, and how a broker that goes and comes is told."""

import io

import pytest

from microlith_cli.console.lines import show_lines
from microlith_cli.console.live import LiveTracer
from microlith_cli.console.run_screens import buses_line, store_line

RABBIT, KAFKA = "rabbitmq://host:5672/", "kafka://host:9092"


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({}, ""),
        ({"command": "memory:", "types.LoginCommand": "memory:"}, ""),
        ({"command": RABBIT, "query": RABBIT, "event": RABBIT}, f"command, query, event over {RABBIT}"),
        ({"event": KAFKA}, f"command, query in this process; event over {KAFKA}"),
        (
            {"command": RABBIT, "types.LoginCommand": "memory:", "event": KAFKA},
            f"command over {RABBIT}; query, LoginCommand in this process; event over {KAFKA}",
        ),
    ],
    ids=["default", "memory", "one", "mixed", "types"],
)
def test_card_says_what_carries_each_bus(places, said):
    assert buses_line(places) == said


CARD = {"durability": "durable", "engine": "PostgreSQL 15.1"}


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({}, "durable; PostgreSQL 15.1"),
        ({"shared": False, "leads": True}, "durable; PostgreSQL 15.1"),
        ({"shared": True, "leads": True}, "durable; PostgreSQL 15.1; shared, this process leads"),
        ({"shared": True, "leads": False}, "durable; PostgreSQL 15.1; shared, another process leads"),
    ],
    ids=["old", "alone", "leads", "shares"],
)
def test_card_says_whether_this_process_leads(card, said):
    assert store_line(CARD | card) == said


def test_process_that_takes_the_lead_is_told():
    facts = [
        {"type": "microlith.lead", "time": "2026-11-23T12:00:01.000Z", "data": {"process": "stock.2", "leads": leads}}
        for leads in (True, False)
    ]
    live, lines = io.StringIO(), io.StringIO()

    LiveTracer(live).facts(facts)
    show_lines(facts, lines)

    for stream in (live, lines):
        taken, lost = stream.getvalue().splitlines()
        assert "lead" in taken
        assert "stock.2 leads the store from now on" in taken
        assert "stock.2 leads the store no more" in lost


def test_broker_that_goes_and_comes_is_told():
    facts = [
        {"type": "microlith.transport", "time": "2026-11-23T12:00:01.000Z", "data": data}
        for data in (
            {"broker": RABBIT, "connected": False, "reason": "it does not\x1b answer"},
            {"broker": RABBIT, "connected": True},
        )
    ]
    live, lines = io.StringIO(), io.StringIO()

    LiveTracer(live).facts(facts)
    show_lines(facts, lines)

    away = rf"broker  {RABBIT} is away: it does not\x1b answer; what is sent meanwhile waits"
    back = f"broker  {RABBIT} is back; what waited is sent"
    for stream in (live, lines):
        first, second = stream.getvalue().splitlines()
        assert away in first.replace("broker   ", "broker  ")
        assert back in second.replace("broker   ", "broker  ")
