"""One correlation as a Mermaid sequence diagram."""

import re

import pytest

from microlith_cli.causation import build_tree
from microlith_cli.console.mermaid import mermaid_lines
from tests.hostile import TEXTS, VALUES, unsafe_in
from tests.unit.cli.traces import Story, register_story

REGISTER = """\
sequenceDiagram
    participant p0 as outside
    participant p1 as auth
    participant p2 as stats
    participant p3 as mail
    participant p4 as audit
    p0->>p1: RegisterCommand (62 ms)
    p1-->>p2: UserRegisteredEvent (2.1 ms)
    p1-->>p3: UserRegisteredEvent (1.2 ms)
    p1-->>p4: UserRegisteredEvent (400 µs)
    p2->>p2: CountUsersRequest (900 µs)
    p2-->>p2: CountUsersResponse
    p3-xp3: SendMailCommand (5.5 ms)
    Note over p3: mail.send ConnectionRefusedError#58; #91;Errno 111#93; Connection refused
    p3-xp3: SendMailCommand (8.0 ms, attempt 2)
    Note over p3: mail.send ConnectionRefusedError#58; #91;Errno 111#93; Connection refused
    Note over p4: UserAuditedEvent (no handler)"""
LINE = re.compile(
    r"sequenceDiagram|    participant p\d+ as TEXT|    p\d+(->>|-->>|-x)p\d+: TEXT|    Note over p\d+: TEXT".replace(
        "TEXT", r"([A-Za-z0-9 _.,()/+*=!?@µ-]|#\d{1,7};)+"
    )
)
"""All that a diagram may hold: the shapes that are wanted, and text whose every other character is a number."""


def diagram(story):
    return list(mermaid_lines(build_tree(story.correlation, story.facts)))


def test_diagram_shows_who_sent_what_to_whom():
    assert "\n".join(diagram(register_story())) == REGISTER


def test_response_goes_back_to_whoever_asked():
    story = Story()
    start = story.message("Start", component="a")
    ask = story.message("Ask", "query", cause=start, component="b")
    answer = story.message("Answer", "response", cause=ask, component="b")
    story.handled(start, "a.start", sent=(ask,))
    story.handled(ask, "b.answer", sent=(answer,))

    assert "    p2-->>p1: Answer" in diagram(story)


def test_message_not_handled_yet_is_on_its_way():
    story = Story()
    story.message("Ping")

    assert diagram(story)[-1] == "    p0->>p1: Ping"


def test_word_that_ends_a_block_is_broken_up():
    story = Story()
    story.message("end")

    assert diagram(story)[-1].endswith(": #101;nd")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_hostile_text_is_nothing_but_text(text):
    story = Story()
    message = story.message(text, component=text)
    event = story.message(text, "event", cause=message, component=text)
    ask = story.message(text, "query", cause=message, component=text)
    story.handled(message, text, outcome="failed", error={"type": text, "message": text}, sent=(event, ask))

    lines = diagram(story)

    assert all(LINE.fullmatch(line) for line in lines)
    assert not unsafe_in("\n".join(lines))
    assert not any(re.search(r"\bend\b", line.partition(": ")[2], re.IGNORECASE) for line in lines)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_any_value_is_drawn(value):
    for key in ("id", "type", "time", "causationid", "bus", "component", "handlers"):
        story = register_story()
        for fact in story.facts[1:]:
            fact[key] = value
        assert all(LINE.fullmatch(line) for line in diagram(story))
    for key in ("handler", "message", "outcome", "attempt", "took_ms", "sent", "error"):
        story = register_story()
        for fact in story.facts:
            fact["data"][key] = value
        assert all(LINE.fullmatch(line) for line in diagram(story))
