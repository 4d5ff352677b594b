"""Completion in the shells themselves: each one reads the printed script, and its own key completes."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.cli.shop import Tool, environment
from tests.acceptance.live_project import until
from tests.acceptance.terminal.conftest import Open
from tests.tmux import Tmux

pytestmark = pytest.mark.terminal

SHELLS = {
    "bash": ("exec bash --norc --noprofile", 'eval "$(microlith completion bash)"'),
    "zsh": ("exec zsh -f", 'autoload -Uz compinit; compinit -D -u; eval "$(microlith completion zsh)"'),
}
COMPLETED = [
    ("microlith dis", "microlith dispatch "),
    ("microlith dispatch LoginC", "microlith dispatch LoginCommand "),
    ("microlith dispatch LoginCommand --em", "microlith dispatch LoginCommand --email "),
    ("microlith dispatch EchoCommand --unit k", "microlith dispatch EchoCommand --unit kg "),
    ("microlith dispatch LoginCommand --wait UserL", "microlith dispatch LoginCommand --wait UserLoggedInEvent "),
    ("microlith dispatch LoginCommand --wait=UserL", "microlith dispatch LoginCommand --wait=UserLoggedInEvent "),
    ("microlith dispatch EchoCommand --unit=k", "microlith dispatch EchoCommand --unit=kg "),
    ("microlith dispatch LoginCommand --sid 'a b' --em", "microlith dispatch LoginCommand --sid 'a b' --email "),
    ("microlith --color=al", "microlith --color=always "),
    ("microlith trace @l", "microlith trace @last "),
    ("microlith -C sho", "microlith -C shop/"),
    ("microlith dispatch LoginCommand --data @pypr", "microlith dispatch LoginCommand --data @pyproject.toml "),
    ("cd . && microlith describe GreetedE", "cd . && microlith describe GreetedEvent "),
]


def open_shell(name: str, terminal: Open, shop: Path) -> Tmux:
    screen = terminal(columns=120, rows=30)
    start, load = SHELLS[name]
    screen.run(start, folder=shop)
    screen.type(f"PS1='>> '; {load}; clear")
    screen.press("Enter")
    screen.wait_for(r"(?m)\A>> ?\n\Z")
    return screen


def complete(screen: Tmux, typed: str, completed: str) -> None:
    screen.type(typed)
    screen.press("Tab")
    # A blank at the end is not seen on the screen, but by what is typed behind it.
    screen.wait_for(rf"(?m)^>> {re.escape(completed.rstrip())}\n\Z")
    screen.type("^")
    screen.wait_for(rf"(?m)^>> {re.escape(completed)}\^\n\Z")
    screen.press("C-u")
    screen.wait_for(r"(?m)^>> ?\n\Z")


@pytest.mark.parametrize("shell", SHELLS)
def test_shell_completes_commands_messages_fields_values_and_files(shell, terminal: Open, shop: Path, require):
    require(shell)
    screen = open_shell(shell, terminal, shop)

    for typed, completed in COMPLETED:
        complete(screen, typed, completed)


@pytest.mark.parametrize("shell", SHELLS)
def test_shell_lists_what_there_is_with_what_it_is(shell, terminal: Open, shop: Path, require):
    require(shell)
    screen = open_shell(shell, terminal, shop)

    screen.type("microlith dispatch LoginCommand --sid")
    screen.press("BSpace", "BSpace", "BSpace", "Tab", "Tab")
    shown = screen.wait_for("--email")

    assert {"--email", "--password", "--sid", "--wait", "--header"} <= set(shown.split())
    assert ("secret" in shown) is (shell == "zsh")


@pytest.fixture
def identifiers(shop: Path) -> dict[str, str]:
    """Short ids of what happened: of a correlation, of a dead letter, of a schedule; and the position of an event."""
    tool = Tool(shop)

    def sent(*words: str) -> str:
        return str(tool("dispatch", *words, "--attach", "--json").lines[0]["id"])[-8:]

    failed = sent("FailCommand")
    until(lambda: failed in tool("dead-letters", "list").out, "it did not fail")
    scheduled, correlation = sent("EchoCommand", "--after", "1h"), sent("EchoCommand")
    until(lambda: correlation in tool("trace").out, "it is not in the trace log")
    return {"trace": correlation, "dead-letters show": failed, "schedules cancel": scheduled}


@pytest.mark.parametrize("shell", SHELLS)
def test_shell_completes_ids(shell, terminal: Open, shop: Path, identifiers, require):
    require(shell)
    screen = open_shell(shell, terminal, shop)

    for command, identifier in identifiers.items():
        complete(screen, f"microlith {command} {identifier[:5]}", f"microlith {command} {identifier} ")


def in_fish(require: Callable[[str], str], tool_folder: str, shop: Path, *lines: str) -> list[list[str]]:
    """Ask fish what it would offer for lines."""
    script = "microlith completion fish | source\n"
    script += "".join(f"complete -C {quoted(line)}; echo ==\n" for line in lines)
    ended = subprocess.run(
        [require("fish"), "--no-config", "-c", script],
        cwd=shop,
        env=environment() | {"HOME": os.fspath(shop), "PATH": os.pathsep.join((tool_folder, os.environ["PATH"]))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return [block.splitlines() for block in ended.stdout.split("==\n")[:-1]]


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_fish_completes_commands_messages_fields_values_and_files(shop: Path, require, tool_folder):
    found = in_fish(require, tool_folder, shop, *(typed for typed, _ in COMPLETED))

    for (typed, completed), words in zip(COMPLETED, found, strict=True):
        last = completed.rstrip().rpartition(" ")[2]
        assert [word.partition("\t")[0] for word in words] == [last], typed


def test_fish_describes_what_it_offers(shop: Path, require, tool_folder):
    (words,) = in_fish(require, tool_folder, shop, "microlith dispatch LoginCommand --")

    assert words[:3] == ["--email\ttext. Who it is", "--password\tsecret", "--sid\ttext"]


def test_fish_completes_ids(shop: Path, identifiers, require, tool_folder):
    found = in_fish(
        require, tool_folder, shop, *(f"microlith {command} {id_[:5]}" for command, id_ in identifiers.items())
    )

    assert [words[0].partition("\t")[0] for words in found] == list(identifiers.values())


def test_a_name_that_a_shell_would_act_on_reaches_none(tmp_path: Path, terminal: Open, require, tool_folder):
    (tmp_path / ".microlith").mkdir()
    names = ["$(touch planted)", "`touch planted`", "Login;touch planted", "Good"]
    entries = ", ".join(f'{{"type": "{name}", "kind": "command", "component": "c"}}' for name in names)
    (tmp_path / ".microlith" / "catalog.json").write_text(f'{{"messages": [{entries}]}}', "utf-8")

    for shell in SHELLS:
        require(shell)
        complete(open_shell(shell, terminal, tmp_path), "microlith dispatch ", "microlith dispatch Good ")
    assert in_fish(require, tool_folder, tmp_path, "microlith dispatch ") == [["Good\tcommand of c"]]
    assert not (tmp_path / "planted").exists()
