"""Progress of long work: drawn in a terminal, silent everywhere else."""

import io
import os
import pty

import pytest

from microlith_cli.console.plain import settings
from microlith_cli.console.progress import show_progress
from tests.hostile import TEXTS


def in_terminal(*steps):
    """What a terminal is sent while some steps are told."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as stream, show_progress(stream) as advance:
        for step in steps:
            advance(*step)
    shown = b""
    try:
        while part := os.read(reader, 65536):
            shown += part
    except OSError:  # how a terminal says that it is over
        pass
    os.close(reader)
    return shown.decode()


def test_progress_is_drawn_in_a_terminal():
    shown = in_terminal(("auth.users", 1, 10), ("auth.users", 10, 10), ("auth.sessions", 3, 4))

    assert "auth.users" in shown
    assert "10/10" in shown
    assert "3/4" in shown


def test_progress_is_silent_where_there_is_no_terminal():
    stream = io.StringIO()

    with show_progress(stream) as advance:
        advance("auth.users", 1, 10)

    assert stream.getvalue() == ""


def test_progress_is_silent_when_quiet_is_asked_for(monkeypatch):
    monkeypatch.setattr(settings, "verbosity", -1)

    assert in_terminal(("auth.users", 1, 10)) == ""


@pytest.mark.parametrize("name", ["clear screen", "rich markup", "line breaks", "lone surrogates", "right to left"])
def test_name_in_a_progress_line_is_text(name):
    shown = in_terminal((TEXTS[name], 1, 2))

    assert TEXTS[name] not in shown.replace("\r\n", "\n") or name == "rich markup"
    assert "1/2" in shown
