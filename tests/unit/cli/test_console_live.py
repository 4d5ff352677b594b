"""Facts as lines: those of a pipe, and the live ones of a terminal."""

import io
import re
import time

import pytest

from microlith_cli.console.ink import Ink, cells
from microlith_cli.console.lines import show_lines
from microlith_cli.console.live import READABLE, LiveTracer
from microlith_cli.console.run_screens import LinesScreen
from tests.eventually import eventually
from tests.hostile import STYLE, TEXTS, VALUES, unsafe_in
from tests.unit.cli.traces import Story, login_story, register_story

NOTICES = [
    {
        "type": "microlith.reloaded",
        "time": "2026-11-23T12:00:01.000000Z",
        "data": {"files": ["shop/auth/handlers/login.py"], "took_ms": 212.4, "reason": "save"},
    },
    {
        "type": "microlith.failed_reload",
        "time": "2026-11-23T12:00:02.000000Z",
        "data": {
            "files": ["shop/auth/handlers/login.py"],
            "error": {
                "type": "SyntaxError",
                "message": "invalid syntax",
                "file": "shop/auth/handlers/login.py",
                "line": 3,
            },
        },
    },
    {"type": "microlith.dropped", "time": "2026-11-23T12:00:03.000000Z", "data": {"count": 12}},
]
LIVE = """\
12:00:00.123 3c6ef362 ► LoginCommand  email=ann@example.org password=*** sid=1234
12:00:00.126 3c6ef362 │ ◇ UserLoggedInEvent #1  no handler  sid=1234 user_id=7f0c
12:00:00.126 3c6ef362 │ ✓ auth.login  3.4 ms
12:00:01.000 · reloaded  shop/auth/handlers/login.py  212 ms
12:00:02.000 · not reloaded  SyntaxError: invalid syntax  shop/auth/handlers/login.py:3
12:00:03.000 · dropped  12 facts there was no room for
"""
LINES = """\
2026-11-23T12:00:00.123Z 3c6ef362 command  LoginCommand id=3c6ef362 email=ann@example.org password=*** sid=1234
2026-11-23T12:00:00.126Z 3c6ef362 event    UserLoggedInEvent id=c25abdcd #1 sid=1234 user_id=7f0c (no handler)
2026-11-23T12:00:00.123Z 3c6ef362 ok       auth.login LoginCommand id=3c6ef362 queued=100µs took=3.4ms
2026-11-23T12:00:01.000Z -        reloaded shop/auth/handlers/login.py  212 ms
2026-11-23T12:00:02.000Z -        failed_reload SyntaxError: invalid syntax  shop/auth/handlers/login.py:3
2026-11-23T12:00:03.000Z -        dropped  12 facts there was no room for
"""


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def tracer(stream, seconds):
    tracer = LiveTracer(stream, seconds=seconds)
    yield tracer
    tracer.close()


def test_live_lines_say_what_caused_what(tracer, stream):
    tracer.facts([*login_story().facts, *NOTICES])

    assert stream.getvalue() == LIVE


def test_live_lines_are_the_same_however_facts_are_handed_over(tracer, stream):
    for fact in [*login_story().facts, *NOTICES]:
        tracer.facts([fact])

    assert stream.getvalue() == LIVE


def test_indent_of_a_live_line_is_its_depth(tracer, stream):
    tracer.facts(register_story().facts)

    depths = [(line.count("│"), line.split()[-1]) for line in stream.getvalue().splitlines()]
    assert [depth for depth, _ in depths] == [0, 1, 1, 2, 3, 3, 2, 2, 2, 3, 3, 2, 2]


def test_failure_in_a_live_line_says_on_what_why_and_where(tracer, stream):
    tracer.facts(register_story().facts)

    assert (
        "✗ mail.send  failed  attempt 2  8.0 ms  on SendMailCommand  "
        "ConnectionRefusedError: [Errno 111] Connection refused  shop/mail/handlers/send.py:31"
    ) in stream.getvalue()


def test_event_that_a_projection_takes_is_not_called_unhandled(tracer, stream):
    story = Story()
    story.message("KeptEvent", "event", projections=1)

    tracer.facts(story.facts)
    show_lines(story.facts, stream)

    live, line = stream.getvalue().splitlines()
    assert live.endswith("◇ KeptEvent #0  1 projection")
    assert line.endswith("#0 (1 projection)")


def over_a_broker(origin):
    """A command on its way out, and the same as it came."""
    story = Story()
    message = story.message("Ping", handlers=2)
    story.handled(message, "outbox.a.ping", took=2)
    out, in_again = list(story.facts), {**story.facts[0], "origin": origin, "handlers": 1}
    story.handled(message, "a.ping", at=3)
    return out, [in_again, story.facts[-1]]


def test_message_that_comes_back_over_a_broker_is_one_line_with_its_way_out_and_in_below(tracer, stream):
    out, came = over_a_broker("shop")

    tracer.facts([*out, *came])

    assert [line.split(maxsplit=2)[2] for line in stream.getvalue().splitlines()] == [
        "► Ping",
        "│ ✓ outbox.a.ping  2.0 ms",
        "│ ✓ a.ping  1.0 ms",
    ]


def broker(process, **data):
    data = {"broker": "rabbitmq://host:5672/", "connected": not data, **data}
    return {"type": "microlith.transport", "time": "2026-11-23T12:00:04.000000Z", "process": process, "data": data}


def test_broker_that_several_processes_lose_is_away_once_and_back_once(stream, seconds):
    tracer = LiveTracer(stream, seconds=seconds, processes=["auth", "mail"])

    for _ in range(2):
        tracer.facts([broker("auth", reason="it was closed"), broker("mail", reason="it was cut")])
        tracer.facts([broker("mail"), broker("auth")])

    away = "12:00:04.000 auth · broker  rabbitmq://host:5672/ is away: it was closed; what is sent meanwhile waits"
    back = "12:00:04.000 mail · broker  rabbitmq://host:5672/ is back; what waited is sent"
    assert stream.getvalue().splitlines() == 2 * [away, back]


def test_code_that_has_never_served_is_not_started_rather_than_not_reloaded(tracer, stream):
    error = {"type": "SyntaxError", "message": "invalid syntax"}
    tracer.facts([{**NOTICES[1], "data": {"error": error, "served": served}} for served in (False, True)])

    told = [line.partition("  ")[0] for line in stream.getvalue().splitlines()]
    assert told == ["12:00:02.000 · not started", "12:00:02.000 · not reloaded"]


def test_quiet_run_complains_of_a_broker_that_is_away(capsys):
    LinesScreen(quiet=True).facts([broker("", reason="it was closed"), NOTICES[0]])

    out, err = capsys.readouterr()
    assert (out, err) == ("", "rabbitmq://host:5672/ is away: it was closed; what is sent meanwhile waits\n")


@pytest.mark.parametrize("origin", ["shop", "gateway"])
def test_message_that_was_not_seen_on_its_way_out_is_shown_when_it_comes(tracer, stream, origin):
    _, came = over_a_broker(origin)

    tracer.facts(came)

    assert f"► Ping  from {origin}\n" in stream.getvalue()


def test_long_wait_in_the_queue_is_pointed_out(tracer, stream):
    story = Story()
    message = story.message("Ping")
    story.handled(message, "a.ping", queued=25)

    tracer.facts(story.facts)

    assert "✓ a.ping  1.0 ms  waited 25 ms" in stream.getvalue()


def test_colour_of_the_short_id_groups_a_correlation(stream):
    tracer = LiveTracer(stream, Ink(80, colored=True))

    tracer.facts([*login_story(1).facts, *login_story(5).facts])

    codes = re.findall("\x1b\\[(\\d+)m([0-9a-f]{8}) ", stream.getvalue())
    assert len(codes) == 6
    assert len(set(codes)) == 2
    assert len({code for code, _ in codes}) == 2


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_no_live_line_is_wider_than_the_terminal(stream, width):
    story = Story()
    cause = None
    for n in range(60):
        cause = story.message(f"漢字{n}", cause=cause, data={"x": "字" * 100})
        story.handled(cause, "a.b", outcome="failed", error={"type": "E", "message": "り" * 100})
    tracer = LiveTracer(stream, Ink(width), seconds=Seconds())

    tracer.facts(story.facts[:READABLE])

    assert max(map(cells, stream.getvalue().splitlines())) <= width


def test_lines_of_a_pipe_are_whole(tracer, stream):
    story = Story()
    story.message("Ping", data={"x": "y" * 1000})

    tracer.facts(story.facts)

    assert "y" * 1000 in stream.getvalue()


def test_note_is_one_safe_line(tracer, stream):
    tracer.note("stopping\n\x1b[2J")

    assert stream.getvalue() == "· stopping\\n\\x1b[2J\n"


class TestFlood:
    """More than anyone can read is summed up."""

    def flood(self, count=400):
        facts = []
        for n in range(count):
            story = login_story(n + 1)
            if n % 97 == 3:
                story.handled(
                    story.facts[0]["id"], "audit.write", took=n, outcome="failed", error={"type": "ValueError"}
                )
            facts += story.facts
        return facts

    def test_more_facts_than_can_be_read_become_one_line_a_second(self, tracer, stream):
        tracer.facts(self.flood())
        shown = stream.getvalue().splitlines()
        tracer.tick()
        summary = stream.getvalue().splitlines()[len(shown) :]

        assert READABLE <= len(shown) <= READABLE + 3
        assert len(summary) == 1
        assert re.search(r"⋮ 1,\d{3} facts/s  ✓ \d+  ✗ \d  ► LoginCommand \d+  ◇ UserLoggedInEvent \d+", summary[0])
        assert "slowest audit.write 391 ms" in summary[0]

    def test_failures_are_shown_all_the_same_but_not_without_end(self, tracer, stream):
        facts = self.flood(100)
        failing = [fact for fact in self.flood() if fact["data"].get("outcome") == "failed"]

        tracer.facts(facts[:READABLE])
        before = stream.getvalue().count("✗")
        tracer.facts([fact for fact in facts if fact["data"].get("outcome") != "failed"] + failing * 10)

        assert stream.getvalue().count("✗ audit.write") - before == 3

    def test_dropped_facts_are_part_of_the_sum(self, tracer, stream):
        tracer.facts([*self.flood(), NOTICES[2], NOTICES[2]])
        tracer.tick()

        assert "dropped 24" in stream.getvalue().splitlines()[-1]

    def test_message_that_comes_back_over_a_broker_is_counted_once(self, tracer, stream):
        tracer.facts(self.flood())
        tracer.tick()
        out, came = over_a_broker("shop")

        tracer.facts([*out, *came])
        tracer.tick()

        assert "3 facts/s  ✓ 2  ► Ping 1  slowest" in stream.getvalue().splitlines()[-1]

    def test_reload_is_never_summed_up(self, tracer, stream):
        tracer.facts([*self.flood(), NOTICES[0]])

        assert "reloaded  shop" in stream.getvalue().splitlines()[-1]

    def test_lines_come_back_after_a_quiet_second(self, tracer, stream, seconds):
        tracer.facts(self.flood())
        tracer.tick()
        seconds.now += 1
        tracer.tick()
        before = stream.getvalue()

        tracer.facts(login_story(9999).facts)

        assert len(stream.getvalue()[len(before) :].splitlines()) == 3

    def test_sums_go_on_while_it_floods(self, tracer, stream):
        tracer.facts(self.flood())
        for _ in range(3):
            tracer.tick()
            tracer.facts(self.flood())

        assert stream.getvalue().count("facts/s") == 3

    async def test_sum_is_written_though_nothing_more_comes(self, tracer, stream):
        tracer.facts(self.flood())

        await eventually(lambda: "facts/s" in stream.getvalue(), seconds=10)

    def test_closing_writes_the_sum(self, tracer, stream):
        tracer.facts(self.flood())
        tracer.close()
        tracer.close()

        assert stream.getvalue().count("facts/s") == 1

    def test_few_facts_a_second_are_never_summed_up(self, tracer, stream, seconds):
        for n in range(50):
            tracer.facts(login_story(n).facts)
            seconds.now += 0.1

        assert stream.getvalue().count("\n") == 150

    async def test_stream_that_breaks_while_nobody_calls_is_told_at_the_next_call(self, stream):
        class Broken(io.StringIO):
            broken = False

            def write(self, text: str) -> int:
                if self.broken:
                    raise BrokenPipeError
                return super().write(text)

        broken = Broken()
        tracer = LiveTracer(broken)
        tracer.facts(self.flood())
        broken.broken = True
        await eventually(lambda: tracer._broken is not None, seconds=10)

        with pytest.raises(BrokenPipeError):
            tracer.note("x")
        tracer.close()

    def test_memory_of_depths_is_bounded(self, tracer):
        for n in range(5):
            tracer.facts(self.flood(3000)[n : n + 9000])
        for n in range(20_000):
            tracer.facts([{"id": f"m{n}", "bus": "event", "type": "T"}])

        assert len(tracer._depths) == 10_000


def test_lines_for_pipes_begin_with_the_same_four_words(stream):
    count = show_lines([*login_story().facts, *NOTICES], stream)

    assert count == 6
    assert stream.getvalue() == LINES


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_hostile_text_never_reaches_the_terminal(stream, text):
    story = Story()
    story.correlation = text
    error = {"type": text, "message": text, "file": text, "line": text}
    message = story.message(text, data={text: text}, component=text)
    story.message(text, "event", cause=message, data=[text])
    story.handled(message, text, outcome=text, error=error)
    for fact in story.facts:
        fact["time"] = text
    notices = [
        {
            "type": f"microlith.{kind}",
            "time": text,
            "data": {
                "files": [text],
                "reason": text,
                "error": error,
                "count": text,
                "broker": text,
                "connected": False,
            },
        }
        for kind in ("reloaded", "failed_reload", "dropped", "transport", text)
    ]
    tracer = LiveTracer(stream, Ink(80, colored=True))

    tracer.facts([*story.facts, *notices])
    tracer.facts(story.facts * 100)
    tracer.close()
    show_lines([*story.facts, *notices], stream)

    assert not unsafe_in(stream.getvalue())
    assert len(STYLE.sub("", stream.getvalue()).splitlines()) >= 14


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_any_value_is_shown(stream, value):
    facts = [*register_story().facts, *NOTICES]
    tracer = LiveTracer(stream, Ink(80))

    for key in ("id", "type", "time", "correlationid", "causationid", "bus", "handlers", "position", "data"):
        changed = [{**fact, key: value} for fact in facts]
        tracer.facts(changed)
        show_lines(changed, stream)
    for key in (
        "handler",
        "message",
        "outcome",
        "attempt",
        "queued_ms",
        "took_ms",
        "error",
        "files",
        "count",
        "reason",
    ):
        changed = [{**fact, "data": {**fact["data"], key: value}} for fact in facts]
        tracer.facts(changed)
        show_lines(changed, stream)
    tracer.close()

    assert not unsafe_in(stream.getvalue())
