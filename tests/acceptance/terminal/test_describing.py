"""`microlith describe` in a narrow terminal."""

from pathlib import Path

import pytest

from tests.acceptance.terminal.conftest import Open

pytestmark = pytest.mark.terminal


def test_facts_are_broken_between_words_where_the_terminal_is_narrow(terminal: Open, resting: Path, tmp_path: Path):
    screen = terminal(columns=48, rows=60)
    screen.run("microlith describe StepsCommand", folder=resting)
    assert screen.code() == 0
    narrow = screen.text()
    screen.run(f"microlith describe StepsCommand > {tmp_path}/out", folder=resting)
    assert screen.code() == 0
    whole = (tmp_path / "out").read_text("utf-8")

    def facts(text: str) -> str:
        return text.partition("\n  defined in")[2].partition("\n  fields")[0]

    assert facts(narrow).split() == facts(whole).split()  # no word is broken
    assert len(facts(narrow).splitlines()) > len(facts(whole).splitlines())
