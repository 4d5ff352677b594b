"""Two traces side by side: what counts as a difference and what does not."""

import io
from typing import Any

import pytest

from microlith_cli.causation import build_tree
from microlith_cli.causation.comparing import Pair, compare
from microlith_cli.causation.redacting import redactor
from microlith_cli.console.difference import show_difference, summary
from tests.hostile import TEXTS, unsafe_in
from tests.unit.cli.traces import Story


def order(
    number: int,
    *,
    mails: int = 1,
    audits: int = 0,
    total: Any = 17,
    took: float = 2.0,
    outcome: str = "ok",
    **more: Any,
) -> Story:
    """An order, which is announced; a handler sends mails, another one writes audits."""
    story = Story(number)
    command = story.message("OrderCommand", data={"total": total, **more})
    event = story.message("OrderedEvent", "event", at=2, cause=command, handlers=2, data={"order": story.correlation})
    story.handled(command, "shop.order", at=1, took=took, sent=(event,))
    sent = [story.message("SendMail", at=4, cause=event, data={"n": n}) for n in range(mails)]
    for mail in sent:
        story.handled(mail, "mail.send", at=5)
    story.handled(event, "mail.write", at=3, sent=tuple(sent), outcome=outcome)
    written = [story.message("WriteAudit", at=4, cause=event, data={"n": n}) for n in range(audits)]
    story.handled(event, "audit.write", at=3, sent=tuple(written))
    return story


def compared(before: Story, after: Story) -> list[Pair]:
    return compare(build_tree(before.correlation, before.facts), build_tree(after.correlation, after.facts))


def told(before: Story, after: Story) -> list[tuple[str, str]]:
    return [(pair.what, pair.message.type) for pair in compared(before, after) if pair.telling]


def shown(before: Story, after: Story) -> str:
    trees = [build_tree(story.correlation, story.facts) for story in (before, after)]
    stream = io.StringIO()
    show_difference(trees[0], trees[1], compare(*trees), stream)
    return stream.getvalue()


def test_two_runs_of_the_same_are_the_same_though_ids_and_times_differ():
    pairs = compared(order(1, at="2026-01-01T00:00:00Z"), order(2, at="2027-02-03T04:05:06Z"))

    assert {pair.what for pair in pairs} == {"same"}
    assert summary(pairs) == "no difference in 3 messages"


def test_what_is_missing_and_what_is_new_is_told_where_it_stands():
    assert told(order(1, mails=2), order(2, audits=1)) == [("missing", "SendMail"), ("new", "WriteAudit")]


def test_handlers_that_run_in_another_order_make_no_difference():
    before, after = order(1, audits=1), order(2, audits=1)
    after.facts.reverse()

    assert told(before, after) == []


def test_changed_fields_are_told_by_their_path():
    pairs = compared(order(1, items=[{"sku": "a", "n": 1}]), order(2, items=[{"sku": "b", "n": 1}, {"sku": "c"}]))

    changes = [(change.name, change.before, change.after) for pair in pairs for change in pair.changes]
    assert changes == [("items[0].sku", "a", "b"), ("items[1]", "(absent)", {"sku": "c"})]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ("1", 1), (None, 0), ("", None)])
def test_values_of_other_types_are_not_the_same(one, other):
    assert told(order(1, total=one), order(2, total=other)) == [("changed", "OrderCommand")]


def test_an_id_that_plays_another_part_is_a_difference():
    a, b, c = (f"01a209e4-bfc1-778a-83b7-b8354110{n:04x}" for n in range(3))

    assert told(order(1, x=a, y=a), order(2, x=b, y=b)) == []
    assert told(order(1, x=a, y=a), order(2, x=b, y=c)) == [("changed", "OrderCommand")]
    assert told(order(1, x=a, y=b), order(2, x=c, y=c)) == [("changed", "OrderCommand")]


def test_another_outcome_is_a_difference_and_slower_is_none():
    (changed,) = [pair for pair in compared(order(1), order(2, outcome="failed")) if pair.telling]
    (slower,) = [pair for pair in compared(order(1), order(2, took=80.0)) if pair.telling]

    assert [(c.what, c.name, c.before, c.after) for c in changed.changes] == [("outcome", "mail.write", "ok", "failed")]
    assert (slower.what, slower.changes[0].what) == ("same", "slower")


def test_only_what_differs_is_shown_with_what_leads_to_it():
    drawn = shown(order(1, mails=2), order(2, total=18))

    assert [line.rstrip() for line in drawn.splitlines()[2:]] == [
        "~ ► OrderCommand",
        "      total  17 → 18",
        "    ◇ OrderedEvent",
        "-     ► SendMail  missing",
        "        n=1",
        "1 missing, 1 changed",
    ]


def test_a_chain_of_a_hundred_thousand_messages_is_compared():
    stories = []
    for number, last in ((1, "OneEvent"), (2, "OtherEvent")):
        story = Story(number)
        cause: str | None = None
        for at in range(100_000):
            cause = story.message("Step", at=at / 1000, cause=cause)
        story.message(last, "event", cause=cause)
        stories.append(story)

    assert told(*stories) == [("missing", "OneEvent"), ("new", "OtherEvent")]


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_from_a_payload_reaches_the_terminal_raw(text):
    more: dict[str, Any] = {"note": "x", text: 1}
    drawn = shown(order(1, note=text), order(2, **more))

    assert not unsafe_in(drawn.replace("\n", ""))


def test_redaction_keeps_what_is_equal_equal_and_no_value():
    story = order(1, name="Ada Lovelace", again="Ada Lovelace", other=17, secret="***", flag=True)
    story.handled(
        story.message("Boom"),
        "a.b",
        outcome="failed",
        error={"type": "ValueError", "message": "no Ada", "source": "x = 'Ada'", "file": "a.py", "line": 3},
    )
    redact = redactor("values")
    facts = [redact(fact) for fact in story.facts]

    assert "Ada" not in str(facts)
    data = facts[0]["data"]
    assert data["name"] == data["again"] != data["other"]
    assert (data["secret"], data["flag"]) == ("***", True)
    assert facts[-1]["data"]["error"] == {"type": "ValueError", "file": "a.py", "line": 3}
    assert next(fact["data"] for fact in map(redactor("all"), story.facts)) == {}
    assert list(map(redactor("none"), story.facts)) == story.facts
