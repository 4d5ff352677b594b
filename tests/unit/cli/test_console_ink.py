"""Text measured, cut and marked for what a stream can show."""

import io

import pytest

from microlith.plurals import plural
from microlith_cli.console.ink import Ink, cells, duration, one_line
from microlith_cli.console.payload import payload_line
from tests.hostile import TEXTS, VALUES, unsafe_in


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 µs"),
        (0.0004, "0 µs"),
        (0.12, "120 µs"),
        (0.9994, "999 µs"),
        (0.9996, "1.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (9_994, "9.99 s"),
        (9_996, "10.0 s"),
        (59_949, "59.9 s"),
        (59_951, "1m 00s"),
        (3_599_400, "59m 59s"),
        (3_600_000, "1h 00m"),
        (86_400_000, "1d 00h"),
        (99 * 86_400_000, "99d 00h"),
    ],
)
def test_duration_is_short_and_never_jumps(ms, shown):
    assert duration(ms, Ink()) == shown
    assert len(shown) <= 7


def test_duration_is_ascii_where_nothing_else_is_shown():
    assert duration(0.12, Ink(unicode=False)) == "120 us"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0), ("ab漢", 4)])
def test_cells_are_counted_as_a_terminal_does(text, width):
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
    ],
)
def test_text_is_cut_by_cells(text, width, shown):
    assert Ink().cut(text, width) == shown
    assert cells(shown) <= width


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("width", [1, 2, 7, 80])
def test_any_text_is_one_safe_line_of_the_width_asked_for(text, width):
    shown = Ink().cut(one_line(text), width)

    assert not unsafe_in(shown)
    assert "\n" not in shown
    assert cells(shown) <= width
    assert len(shown) <= 6 * width + 6


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_text_is_wrapped_into_few_lines_of_the_width_asked_for(text):
    lines = list(Ink().wrap(one_line(text), 20, 3))

    assert 1 <= len(lines) <= 3
    assert all(cells(line) <= 20 for line in lines)


def test_text_is_wrapped_at_spaces_and_says_that_there_is_more():
    assert list(Ink().wrap("one two three four five", 10, 2)) == ["one two", "three fou…"]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("room", [0, 10, 1000])
def test_any_payload_is_one_safe_line_about_as_long_as_there_is_room(value, room):
    for data in (value, {"field": value}, [value], {"a": {"b": [value, value]}}):
        shown = payload_line(data, room)

        assert not unsafe_in(shown)
        assert "\n" not in shown
        assert len(shown) < room + 25_000


def test_payload_is_written_as_the_filter_language_writes_it():
    data = {
        "email": "a@b.c",
        "name": "Ann Lee",
        "empty": "",
        "quote": 'a"b',
        "n": 1.5,
        "yes": True,
        "none": None,
        "address": {"city": "Bern"},
        "tags": ["a", 1, []],
        "nothing": {},
    }

    assert payload_line(data, 1000) == (
        'email=a@b.c name="Ann Lee" empty="" quote="a\\"b" n=1.5 yes=true none=null '
        "address={city=Bern} tags=[a 1 []] nothing={}"
    )


def test_payload_that_is_deep_is_cut_in_depth():
    assert payload_line({"a": [[[[[[[[1]]]]]]]]}, 1000) == "a=[[[[[[[..]]]]]]]"


@pytest.mark.parametrize(
    ("encoding", "variables", "unicode"),
    [
        ("utf-8", {}, True),
        ("UTF8", {"LANG": "en_US.UTF-8"}, True),
        ("utf-8", {"LANG": "C.UTF-8"}, True),
        ("utf-8", {"LANG": "ca_ES.utf8@valencia"}, True),
        ("utf-8", {"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ("utf-8", {"LC_ALL": "POSIX"}, False),
        ("utf-8", {"LANG": "de_DE.ISO-8859-1"}, False),
        ("iso-8859-1", {"LANG": "en_US.UTF-8"}, False),
        ("ascii", {}, False),
    ],
)
def test_marks_are_unicode_where_stream_and_locale_are(monkeypatch, encoding, variables, unicode):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert Ink.of(Terminal(encoding)).unicode is unicode


@pytest.mark.parametrize(
    ("columns", "width"), [("", 100), ("80", 80), ("5", 20), ("100000", 400), ("x", 100), ("-1", 100)]
)
def test_width_is_what_the_environment_says_within_reason(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)

    assert Ink.of(Terminal()).width == width


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    assert Ink.of(Terminal()).colored
    assert not Ink.of(io.StringIO()).colored
    monkeypatch.setenv("NO_COLOR", "1")

    assert not Ink.of(Terminal()).colored


@pytest.mark.parametrize(("count", "said"), [(0, "0 messages"), (1, "1 message"), (2000, "2,000 messages")])
def test_numbers_go_with_their_noun(count, said):
    assert plural(count, "message") == said


def test_two_of_a_query_are_queries():
    assert (plural(1, "query"), plural(2, "query")) == ("1 query", "2 queries")
