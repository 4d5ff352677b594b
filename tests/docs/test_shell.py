"""Every `microlith` command that a page shows exists, with the options it is given."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from microlith_cli.commands import TABLE
from tests.docs.conftest import TOOL
from tests.docs.pages import pages, shell_commands, shown

GLOBAL = {"-C": 1, "--color": 1, "-q": 0, "--quiet": 0, "-v": 0, "--verbose": 0, "--version": 0, "--help": 0}
COMMANDS = [
    pytest.param(words[1:], id=f"{shown(page)}:{line}")
    for page in pages()
    for line, words in shell_commands(page)
    if words and Path(words[0]).name == "microlith"
]


@pytest.mark.parametrize("words", COMMANDS)
def test_command_of_a_page_exists_with_its_options(words: list[str], scaffolded: Path):
    words = without_global(words)
    if not words:
        return
    assert words[0] in {name for name, _, _ in TABLE}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]

    said = help_of(tuple(subject(words)), scaffolded)

    assert not [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", said)], said


def without_global(words: list[str]) -> list[str]:
    """What stands after the options of microlith itself."""
    rest = list(words)
    while rest and rest[0] in GLOBAL:
        del rest[: 1 + GLOBAL[rest[0]]]
    return rest


def subject(words: list[str]) -> list[str]:
    """The part of a command whose help lists its options: `new command`, `dispatch LoginCommand`, `trace`."""
    deep = {"new", "replay", "dispatch", "dead-letters", "schedules", "events", "broker"}
    return words[:2] if words[0] in deep and len(words) > 1 and not words[1].startswith("-") else words[:1]


@cache
def help_of(words: tuple[str, ...], project: Path) -> str:
    """What the tool prints for `--help`, inside the project."""
    ended = subprocess.run(
        [*TOOL, *words, "--help"], cwd=project, capture_output=True, text=True, check=False, env=None
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
