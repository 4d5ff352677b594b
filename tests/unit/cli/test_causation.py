"""Facts become trees: whole, torn, tangled, or very deep."""

import random
import time

import pytest

from microlith_cli.causation import build_tree, build_trees
from tests.unit.cli.traces import Story, login_story, register_story


def outline(tree):
    """The tree as nested text: type, then its handlers, then what they sent."""
    lines = []

    def add(message, depth):
        lines.append("  " * depth + (message.type or "?"))
        for handling in message.handlings:
            lines.append("  " * depth + f"  {handling.handler} {handling.outcome}")
            for child in handling.sent:
                add(child, depth + 2)
        for child in message.sent:
            add(child, depth + 1)

    for top in tree.tops:
        add(top, 0)
    return lines


REGISTER = [
    "RegisterCommand",
    "  auth.register ok",
    "    UserRegisteredEvent",
    "      stats.count ok",
    "        CountUsersRequest",
    "          stats.count_users ok",
    "            CountUsersResponse",
    "      mail.welcome ok",
    "        SendMailCommand",
    "          mail.send failed",
    "          mail.send failed",
    "      audit.record ok",
    "        UserAuditedEvent",
]


def test_tree_hangs_each_message_below_the_handler_that_sent_it():
    story = register_story()

    tree = build_tree(story.correlation, story.facts)

    assert outline(tree) == REGISTER
    assert [message.kind for message in tree.walk()] == [
        "command",
        "event",
        "query",
        "response",
        "command",
        "event",
    ]
    assert (tree.messages, tree.handlings, tree.unhandled, tree.outcome) == (6, 7, 1, "failed")
    assert tree.took_ms == pytest.approx(83.9, abs=0.01)


def test_tree_is_the_same_whatever_the_order_of_the_facts():
    story = register_story()
    generator = random.Random(1)

    for _ in range(50):
        generator.shuffle(story.facts)
        assert outline(build_tree(story.correlation, story.facts)) == REGISTER


def test_tree_is_the_same_when_facts_come_twice():
    story = register_story()

    assert outline(build_tree(story.correlation, story.facts * 2)) == REGISTER


def test_any_facts_may_be_missing():
    story = register_story()
    generator = random.Random(2)

    for _ in range(200):
        some = generator.sample(story.facts, generator.randrange(len(story.facts)))
        tree = build_tree(story.correlation, some)
        told = {fact["id"] for fact in some if "bus" in fact}
        assert {message.id for message in tree.walk() if message.kind} == told
        assert tree.handlings == sum("bus" not in fact for fact in some)


def test_message_whose_cause_is_missing_is_an_orphan():
    story = login_story()

    tree = build_tree(story.correlation, story.facts[1:2])

    assert (tree.roots, [message.type for message in tree.orphans]) == ([], ["UserLoggedInEvent"])


def test_handling_whose_message_is_missing_still_shows_its_type():
    story = login_story()

    tree = build_tree(story.correlation, story.facts[1:])

    assert outline(tree) == ["LoginCommand", "  auth.login ok", "    UserLoggedInEvent"]
    assert [message.kind for message in tree.orphans] == [""]


def test_failure_that_a_later_attempt_mended_is_none():
    story = Story()
    ping = story.message("Ping")
    story.handled(ping, "a.ping", outcome="failed", at=1)
    story.handled(ping, "a.ping", attempt=2, at=5)

    tree = build_tree(story.correlation, story.facts)

    assert (tree.failures, tree.outcome) == ([], "ok")
    assert [handling.last for handling in tree.roots[0].handlings] == [False, True]


@pytest.mark.parametrize(
    ("outcome", "whole"), [("timeout", "failed"), ("failed", "failed"), ("cancelled", "cancelled")]
)
def test_outcome_of_a_tree_is_its_worst(outcome, whole):
    story = register_story()
    story.facts = [fact for fact in story.facts if fact.get("data", {}).get("outcome") != "failed"]
    story.handled(story.facts[0]["id"], "auth.other", outcome=outcome)
    for fact in story.facts:
        if fact["type"] == "SendMailCommand":
            fact["handlers"] = 0

    assert build_tree(story.correlation, story.facts).outcome == whole


def test_running_handler_gives_way_to_its_end():
    story = Story()
    ping = story.message("Ping")
    story.started(ping, "a.ping")

    assert build_tree(story.correlation, story.facts).outcome == "unfinished"
    story.handled(ping, "a.ping")

    assert build_tree(story.correlation, story.facts).outcome == "ok"
    assert build_tree(story.correlation, story.facts[::-1]).handlings == 1


def test_message_that_no_handler_was_heard_of_is_unfinished():
    story = Story()
    story.message("Ping")

    assert build_tree(story.correlation, story.facts).outcome == "unfinished"


def test_response_is_told_from_a_query_and_is_not_unhandled():
    story = Story()
    ask = story.message("Ask", "query")
    story.message("Answer", "response", cause=ask)
    story.handled(ask, "a.answer")

    tree = build_tree(story.correlation, story.facts)

    assert [(message.kind, message.unhandled) for message in tree.walk()] == [("query", False), ("response", False)]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_circle_of_causes_is_cut_and_shown_once(size):
    story = Story()
    identifiers = [story.message(f"T{n}") for n in range(size)]
    for n, fact in enumerate(story.facts):
        fact["causationid"] = identifiers[n - 1]

    tree = build_tree(story.correlation, story.facts)

    assert [message.type for message in tree.walk()] == [f"T{n}" for n in range(size)]
    assert tree.roots == []


def test_chain_of_a_hundred_thousand_messages_is_a_tree():
    story = Story()
    cause = None
    for n in range(100_000):
        cause = story.message(f"T{n}", "event", cause=cause)

    started = time.process_time()
    tree = build_tree(story.correlation, story.facts)

    assert sum(1 for _ in tree.walk()) == tree.messages == 100_000
    assert time.process_time() - started < 5


def test_event_that_a_projection_takes_is_neither_unhandled_nor_unfinished():
    story = Story()
    story.message("KeptEvent", "event", projections=1)

    tree = build_tree(story.correlation, story.facts)

    assert (tree.unhandled, tree.outcome, tree.roots[0].projections) == (0, "ok", 1)


def test_several_correlations_become_several_trees():
    first, second = login_story(1), login_story(2)
    mixed = [fact for pair in zip(first.facts, second.facts, strict=True) for fact in pair]

    trees = build_trees(mixed)

    assert [tree.correlation_id for tree in trees] == [first.correlation, second.correlation]
    assert [tree.messages for tree in trees] == [2, 2]


@pytest.mark.parametrize("odd", [None, 0, -1, True, "x", [], {}, [[]], {"x": 1}, 1e400, float("nan"), 2**70, "\ud800"])
def test_fields_of_any_type_are_read_as_unknown(odd):
    for key in (
        "id",
        "type",
        "time",
        "correlationid",
        "causationid",
        "bus",
        "component",
        "handlers",
        "position",
        "data",
    ):
        story = register_story()
        for fact in story.facts:
            fact[key] = odd
        build_tree(story.correlation, story.facts)
    for key in ("handler", "message", "outcome", "attempt", "queued_ms", "took_ms", "sent", "error"):
        story = register_story()
        for fact in story.facts:
            fact["data"][key] = odd
        tree = build_tree(story.correlation, story.facts)
        assert tree.messages == 6
        assert tree.outcome in {"ok", "failed", "unfinished", "cancelled"}
