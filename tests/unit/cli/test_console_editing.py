"""A line while it is typed, without a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith_cli.console.editing import LONGEST, Line, begins_a_key, keys
from microlith_cli.console.ink import cells

HOME, END, LEFT, RIGHT, UP, DOWN = "\x01", "\x05", "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B"


def typed(text, history=()):
    line = Line(history)
    for key in keys(text):
        line.press(key)
    return line


@pytest.mark.parametrize(
    ("pressed", "text", "at"),
    [
        ("abc", "abc", 3),
        (f"abc{HOME}x", "xabc", 1),
        (f"abc{LEFT}{LEFT}x", "axbc", 2),
        (f"abc{HOME}{RIGHT}\x1b[3~", "ac", 1),
        (f"abc{HOME}\x04", "bc", 0),
        ("abc\x7f", "ab", 2),
        (f"abc{HOME}\x7f", "abc", 0),
        ("one two\x17", "one ", 4),
        ("one two \x17\x17", "", 0),
        ("one --two-three\x1b\x7f", "one --two-", 10),
        (f"one two{HOME}\x1bd", " two", 0),
        ("one two\x15", "", 0),
        (f"one two{HOME}\x0b\x19\x19", "one twoone two", 14),
        (f"one two{HOME}\x1bf-", "one- two", 4),
        ("one two\x1b[1;5D-", "one -two", 5),
        ("a\x00\x07\x1b[99~b", "ab", 2),
        ("größe\x7f", "größ", 4),
        ("日本\x1bOD語", "日語本", 2),
    ],
)
def test_keys_edit_the_line(pressed, text, at):
    line = typed(pressed)

    assert (line.text, line.at) == (text, at)


@pytest.mark.parametrize(
    ("pressed", "text"),
    [
        (UP, "two"),
        (UP + UP, "one"),
        (UP * 9, "one"),
        ("new" + UP + DOWN, "new"),
        (UP + "!", "two!"),
        (DOWN, ""),
        ("\x12on", "one"),
        ("\x12o", "two"),
        ("\x12o\x12", "one"),
        ("\x12ox", "two"),
        ("\x12on\x7f", "two"),
        ("\x12on" + END + "!", "one!"),
    ],
)
def test_earlier_lines_are_found(pressed, text):
    assert typed(pressed, ["one", "two"]).text == text


@pytest.mark.parametrize(
    ("key", "asked"),
    [("\n", "enter"), ("\r", "enter"), ("\t", "complete"), ("\x0c", "clear"), ("\x04", "end"), ("x", "")],
)
def test_what_others_have_to_do_is_handed_out(key, asked):
    assert Line().press(key) == asked


def test_end_is_not_asked_for_in_a_line_that_holds_something():
    assert typed("x").press("\x04") == ""


def test_line_does_not_grow_without_end():
    line = Line()
    line.insert("x" * LONGEST)
    line.press("y")

    assert line.text == "x" * LONGEST


@pytest.mark.parametrize(
    ("text", "begins"),
    [("\x1b", True), ("a\x1b[", True), ("\x1b[1;", True), ("\x1bO", True), ("\x1b[A", False), ("a", False)],
)
def test_unfinished_escape_sequence_is_known(text, begins):
    assert begins_a_key(text) is begins


@given(st.text(), st.integers(2, 100))
def test_window_fits_and_holds_the_cursor(text, width):
    line = Line()
    line.text, line.at = text, len(text) // 2

    shown, cursor = line.window(width)

    assert cells(shown) < width
    assert 0 <= cursor < width
    assert shown in text


@given(st.text(st.sampled_from("ab \x1b[OD;5~\x01\x04\x12\x17\x7f\t日")))
def test_no_key_breaks_the_line(pressed):
    line = typed(pressed, ["one", "two"])

    assert 0 <= line.at <= len(line.text)
    assert line.text.isprintable() or not line.text
