import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith_cli.console import blocks, plain

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(plain, "settings", plain.Settings())
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\x07\x08\x00\x7f", "a\\x0db\\x07\\x08\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202e\u2066\u200b\ufeff\u2028", "\\u202e\\u2066\\u200b\\ufeff\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("grüße 日本 👩\u200d🔬", "grüße 日本 👩\u200d🔬"),
        ("[red]%s{0}", "[red]%s{0}"),
    ],
)
def test_escape_shows_what_a_terminal_would_obey(text, shown):
    assert plain.escape(text) == shown


@given(ANY_TEXT)
def test_escaped_text_holds_no_control_character(text):
    shown = plain.escape(text)

    assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    shown.encode()


@given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3))
def test_json_is_one_harmless_line_that_brings_back_the_value(value):
    stream = io.StringIO()
    stdout, sys.stdout = sys.stdout, stream
    try:
        plain.out_json(value)
    finally:
        sys.stdout = stdout

    line = stream.getvalue()
    assert json.loads(line) == value
    assert line == plain.escape(line)
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("choice", "environment", "stream", "wanted"),
    [
        ("auto", {}, Terminal(), True),
        ("auto", {}, io.StringIO(), False),
        ("auto", {"NO_COLOR": "1"}, Terminal(), False),
        ("auto", {"NO_COLOR": ""}, Terminal(), True),
        ("auto", {"TERM": "dumb"}, Terminal(), False),
        ("auto", {"FORCE_COLOR": "1"}, io.StringIO(), True),
        ("always", {"NO_COLOR": "1"}, io.StringIO(), True),
        ("never", {"FORCE_COLOR": "1"}, Terminal(), False),
    ],
)
def test_colour_follows_the_choice_the_environment_and_the_stream(monkeypatch, choice, environment, stream, wanted):
    plain.settings.color = choice
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert plain.wants_color(stream) is wanted


def test_quiet_keeps_progress_back_and_shows_errors(capsys):
    plain.settings.verbosity = -1

    plain.err("progress")
    plain.complain("trouble")

    assert capsys.readouterr().err == "trouble\n"


def test_stream_that_is_not_utf8_gets_escapes(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))

    plain.out("grüße")

    assert raw.getvalue() == b"gr\\xfc\\xdfe\n"


def test_stream_that_is_closed_from_the_start_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)

    plain.out("text")


def test_message_block_aligns_fields_and_keeps_lines_together():
    message = {
        "type": "Noted\x1b",
        "id": "0190b6f4-7c1e-7a31-8d57-3f6f6c2f1a10",
        "data": {"a": "one\ntwo", "long_name": {"x": [1, None]}, "on\nme": True},
    }

    assert blocks.message_block(message).splitlines() == [
        "Noted\\x1b  6c2f1a10",
        "  a          one",
        "             two",
        '  long_name  {"x": [1, null]}',
        "  on\\nme     true",
    ]
