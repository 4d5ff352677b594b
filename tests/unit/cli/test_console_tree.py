"""The drawing of one correlation, and the list of several."""

import io
import random
import time

import pytest

from microlith_cli.causation import build_tree
from microlith_cli.console.ink import Ink, cells
from microlith_cli.console.listing import show_correlations
from microlith_cli.console.tree import show_tree, tree_rows
from tests.hostile import STYLE, TEXTS, VALUES, unsafe_in
from tests.unit.cli.traces import START, Story, login_story, register_story

REGISTER = """\
✗ 9e3779b1  2026-11-23 12:00:00.123  6 messages  1 failed  84 ms
                                                   waited    took
► RegisterCommand → auth.register               ✓  120 µs   62 ms ━━━━━━━━━━━
│ 9e3779b1 email=ann@example.org password=*** role=user sid=1234567890
└╌◇ UserRegisteredEvent
  │ 2423441c #1 email=ann@example.org user_id=7f0c address={city=Bern zip=3011}…
  ├─ stats.count                                ✓  300 µs  2.1 ms           ━
  │ └─? CountUsersRequest → stats.count_users   ✓   50 µs  900 µs           ━
  │   │ aa0f0e87 role=user
  │   └╌◄ CountUsersResponse
  │       2ffad8f2 count=17
  ├─ mail.welcome                               ✓  2.5 ms  1.2 ms           ━━
  │ └─► SendMailCommand
  │   │ b5e6a35d to=ann@example.org
  │   ├─ mail.send  attempt 1                   ✗  100 µs  5.5 ms           ━━
  │   │    ConnectionRefusedError: [Errno 111] Connection refused
  │   └─ mail.send  attempt 2                   ✗  100 µs  8.0 ms             ━━
  │        ConnectionRefusedError: [Errno 111] Connection refused
  │        shop/mail/handlers/send.py:31  await server.connect(host, port)
  └─ audit.record                               ✓  3.0 ms  400 µs           ━
    └╌◇ UserAuditedEvent  no handler
        3bd26dc8 #11
"""
LOGIN_ASCII = """\
+ 3c6ef362  2026-11-23 12:00:00.123  2 messages  3.5 ms
                                                   waited    took
> LoginCommand -> auth.login                    +  100 us  3.4 ms ==============
| 3c6ef362 email=ann@example.org password=*** sid=1234
`.* UserLoggedInEvent  no handler
    c25abdcd #1 sid=1234 user_id=7f0c
"""


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(story, ink=None, **options):
    ink = Ink(80) if ink is None else ink
    tree = build_tree(story.correlation, story.facts)
    return "".join(ink.paint(row) + "\n" for row in tree_rows(tree, ink, **options))


def test_tree_shows_causes_handlers_times_payloads_and_errors():
    assert drawn(register_story()) == REGISTER


def test_tree_is_whole_in_ascii():
    shown = drawn(login_story(), Ink(80, unicode=False))

    assert shown == LOGIN_ASCII
    assert drawn(register_story(), Ink(80, unicode=False)).isascii()


def test_colour_adds_nothing_but_colour():
    for story in (register_story(), login_story()):
        plain, colored = drawn(story).splitlines(), drawn(story, Ink(80, colored=True)).splitlines()

        assert [STYLE.sub("", line).rstrip() for line in colored] == plain


@pytest.mark.parametrize(
    "outcome", ["ok", "failed", "timeout", "retried", "ignored", "cancelled", "running", "unfinished", "unheard of"]
)
def test_every_outcome_is_coloured_with_numbers_alone(outcome, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    story = Story()
    message = story.message("Ping", handlers=None if outcome == "ok" else 1)
    if outcome != "unfinished":
        story.handled(message, "a.ping", outcome=outcome)
    tree = build_tree(story.correlation, story.facts)
    listed = io.StringIO()

    show_correlations([tree], listed)

    shown = drawn(story, Ink(80, colored=True)) + listed.getvalue()
    assert "\x1b" not in STYLE.sub("", shown)


@pytest.mark.parametrize("width", [20, 30, 44, 48, 63, 64, 80, 100, 140, 400])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width, unicode):
    for story in (register_story(), login_story(), wide_story(), chain(30)):
        lines = drawn(story, Ink(width, unicode=unicode)).splitlines()

        assert max(map(cells, lines)) <= width


def wide_story():
    story = Story()
    message = story.message("漢字" * 30, data={"漢" * 20: "字" * 200})
    story.handled(message, "組." + "件" * 50, outcome="failed", error={"type": "誤" * 9, "message": "り" * 300})
    return story


def chain(length):
    story = Story()
    cause = None
    for n in range(length):
        message = story.message(f"Step{n}", at=n, cause=cause)
        story.handled(message, "a.step", at=n + 0.5)
        cause = message
    return story


def test_columns_stand_where_they_stand_whatever_the_characters():
    lines = drawn(wide_story()).splitlines()

    assert lines[1].index("took") + 4 == 65
    assert cells(lines[2][: lines[2].index("✗")]) == 48


def test_handler_that_does_not_fit_behind_its_message_stands_below_it():
    story = Story()
    message = story.message("AVeryLongCommandNameIndeed")
    story.handled(message, "component.and_a_long_handler_name")

    lines = drawn(story).splitlines()

    assert "→" not in lines[2]
    assert lines[3].strip() == "→ component.and_a_long_handler_name"


def test_event_nobody_handles_and_command_not_finished_yet_are_pointed_out():
    story = Story()
    story.message("Ping")
    story.message("PingedEvent", "event")
    story.message("KeptEvent", "event", projections=2)
    busy = story.message("BusyEvent", "event", handlers=3)
    story.handled(busy, "a.one")

    shown = drawn(story)

    assert "► Ping  not finished yet" in shown
    assert "◇ PingedEvent  no handler" in shown
    assert "◇ KeptEvent  2 projections" in shown
    assert "◇ BusyEvent  2 handlers to come" in shown
    assert "unfinished" in shown.splitlines()[0]


def test_nothing_is_said_of_how_long_it_took_before_anything_was_handled():
    story = Story()
    story.message("Ping")

    assert drawn(story).splitlines()[0].endswith("1 message  unfinished")


def test_running_handler_is_shown_as_such():
    story = Story()
    message = story.message("Ping")
    story.started(message, "a.ping", at=1)
    story.message("PongEvent", "event", at=10)

    line = drawn(story).splitlines()[2]

    assert "… " in line
    assert "running" in line
    assert line.endswith("╍")


def test_slow_queue_is_a_thin_line_before_the_work():
    story = Story()
    message = story.message("Ping")
    story.handled(message, "a.ping", at=50, queued=50, took=50)

    line = drawn(story).splitlines()[2]

    assert line.endswith("───────━━━━━━━")


def test_timeout_and_cancelled_are_said_in_words():
    story = Story()
    message = story.message("Ping", handlers=2)
    story.handled(message, "a.one", outcome="timeout")
    story.handled(message, "a.two", outcome="cancelled")

    shown = drawn(story)

    assert "ran out of time" in shown
    assert "cancelled" in shown


def test_message_whose_cause_is_gone_stands_below_a_gap():
    story = login_story()
    story.facts = story.facts[1:2]

    shown = drawn(story)

    assert "⋮ message 3c6ef362 is not in the trace log\n└╌◇ UserLoggedInEvent" in shown


def test_handling_whose_message_is_gone_is_shown_with_its_type():
    story = login_story()
    story.facts = story.facts[2:]

    assert "· LoginCommand → auth.login  not in the trace log" in drawn(story, Ink(100))


def fan_out(count):
    story = Story()
    start = story.message("StartCommand")
    sent = [story.message("CountCommand", cause=start, at=n, data={"n": n}) for n in range(count)]
    story.handled(start, "a.start", sent=tuple(sent))
    for n, message in enumerate(sent):
        story.handled(message, "a.count", at=n, outcome="failed" if n == 77 else "ok")
    return story


def test_many_messages_that_nobody_has_handled_yet_are_folded_and_what_they_hang_on_is_not():
    story = Story()
    start = story.message("StartCommand")
    middle = [story.message("StepCommand", cause=start, at=n) for n in range(20)]
    story.handled(start, "a.start", sent=tuple(middle))
    for number, step in enumerate(middle):
        sent = [story.message("CountCommand", cause=step, at=n) for n in range(20)] if number == 11 else []
        story.handled(step, "a.step", sent=tuple(sent))

    shown = drawn(story)

    assert "⋮ 16 more StepCommand, all ok" in shown
    assert "⋮ 17 more CountCommand, 17 not finished yet" in shown


def test_many_messages_of_one_type_are_folded_but_never_a_failure():
    shown = drawn(fan_out(1000))

    assert "⋮ 996 more CountCommand, all ok" in shown
    assert shown.count("► CountCommand") == 4
    assert "n=77" in shown


def test_few_messages_of_one_type_are_not_folded():
    assert drawn(fan_out(6)).count("► CountCommand") == 6


def test_tree_ends_at_the_limit_and_says_so():
    shown = drawn(chain(50), limit=10)

    assert shown.count("► Step") == 10
    assert shown.endswith("⋮ 50 messages; `--limit 50` shows them all\n")


def test_tree_within_the_limit_says_nothing_of_it():
    assert "--limit" not in drawn(chain(10), limit=10)


def test_deep_tree_keeps_room_for_its_text():
    lines = drawn(chain(300)).splitlines()

    assert all("Step" in line for line in lines if "►" in line)
    assert any("Step299" in line for line in lines)


def test_tree_of_a_hundred_thousand_messages_is_drawn_up_to_the_limit_at_once():
    story = chain(30_000)
    started = time.process_time()

    shown = drawn(story)

    assert len(shown.splitlines()) < 1000
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_hostile_text_never_reaches_the_terminal(text):
    story = Story()
    story.correlation = text or "c"
    error = {"type": text, "message": text, "file": text, "line": text, "source": text}
    message = story.message(text, data={text: text}, component=text)
    event = story.message(text, "event", cause=message, data=[text], component=text)
    story.handled(message, text, outcome=text, sent=(event,), error=error)
    story.handled(event, text, outcome="failed", error=error)
    story.message(text, cause=text or None)
    for fact in story.facts[1:]:
        fact["id"] = f"{text}{fact['seq']}"

    for ink in (Ink(80), Ink(80, colored=True), Ink(20, unicode=False)):
        shown = drawn(story, ink)
        assert not unsafe_in(shown)
        assert max(map(cells, STYLE.sub("", shown).splitlines())) <= ink.width
    stream = io.StringIO()
    assert show_correlations([build_tree(story.correlation, story.facts)], stream) == 1
    assert not unsafe_in(stream.getvalue())


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_any_value_is_drawn(value):
    for key in ("id", "type", "time", "causationid", "bus", "component", "handlers", "position", "data"):
        story = register_story()
        for fact in story.facts[1:]:
            fact[key] = value
        assert not unsafe_in(drawn(story))
    for key in ("handler", "message", "outcome", "attempt", "queued_ms", "took_ms", "sent", "error"):
        story = register_story()
        for fact in story.facts:
            fact["data"][key] = value
        assert not unsafe_in(drawn(story))
    for key in ("type", "message", "file", "line", "source"):
        story = register_story()
        for fact in story.facts:
            if "error" in fact["data"]:
                fact["data"]["error"][key] = value
        assert not unsafe_in(drawn(story))


def test_any_part_of_a_trace_is_drawn():
    generator = random.Random(3)
    for _ in range(200):
        story = register_story()
        story.facts = generator.sample(story.facts, generator.randrange(len(story.facts)))
        assert drawn(story)


def test_stream_that_is_not_unicode_gets_ascii_marks_and_escaped_text():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    story = login_story()
    story.facts[0]["data"]["email"] = "zoë@example.org"

    show_tree(build_tree(story.correlation, story.facts), stream)

    shown = raw.getvalue().decode("ascii")
    assert "> LoginCommand -> auth.login" in shown
    assert "zo\\xeb@example.org" in shown


def test_list_shows_one_correlation_a_line():
    stream = io.StringIO()
    trees = [build_tree(story.correlation, story.facts) for story in (register_story(), login_story())]

    count = show_correlations(iter(trees), stream, now=START.timestamp() + 125)

    assert count == 2
    assert stream.getvalue() == (
        "  id           when  messages     took  first message\n"
        "✗ 9e3779b1   2m ago         6    84 ms  ► RegisterCommand  mail.send ConnectionRefusedError\n"
        "✓ 3c6ef362   2m ago         2   3.5 ms  ► LoginCommand\n"
    )


@pytest.mark.parametrize(
    ("later", "ago"), [(-5, "0s ago"), (59, "59s ago"), (60, "1m ago"), (3600, "1h ago"), (86400 * 3, "3d ago")]
)
def test_list_says_how_long_ago(later, ago):
    stream = io.StringIO()
    story = login_story()

    show_correlations([build_tree(story.correlation, story.facts)], stream, now=START.timestamp() + later)

    assert ago in stream.getvalue()


def test_list_of_nothing_is_empty():
    stream = io.StringIO()

    assert show_correlations([], stream) == 0
    assert stream.getvalue() == ""
