"""Lines as command lines."""

import pytest

from microlith_cli.errors import UsageError
from microlith_cli.shell.words import VERBS, as_command, split_line

CATALOG = {
    "messages": [
        {"type": "LoginCommand", "component": "auth", "kind": "command"},
        {"type": "lower", "component": "auth", "kind": "event"},
        {"type": "UserResponse", "component": "auth", "kind": "response"},
    ]
}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("list --messages", ["list", "--messages"]),
        ("  # list", []),
        ("", []),
        ("LoginCommand --sid 'a b' --note a#b", ["LoginCommand", "--sid", "a b", "--note", "a#b"]),
        ("microlith list", ["list"]),
        ("$ microlith trace @last", ["trace", "@last"]),
    ],
)
def test_line_is_taken_apart(line, words):
    assert split_line(line) == words


@pytest.mark.parametrize("line", ["list 'x", 'list "x', "list \\"])
def test_line_that_is_not_whole_is_refused(line):
    with pytest.raises(UsageError, match="quote is not closed"):
        split_line(line)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["list"], ["list"]),
        (["LoginCommand", "--sid", "1"], ["dispatch", "LoginCommand", "--sid", "1"]),
        (["auth.LoginCommand"], ["dispatch", "auth.LoginCommand"]),
        (["lower"], ["dispatch", "lower"]),
        (["Mistyped"], ["dispatch", "Mistyped"]),
    ],
)
def test_message_alone_is_a_dispatch(words, command):
    assert as_command(words, lambda: CATALOG) == command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "There is no command 'lst'"),
        (["run"], "not for the shell"),
        (["shell"], "not for the shell"),
        (["-C", "/", "list"], "do not go before a line"),
        (["--color=never", "list"], "do not go before a line"),
    ],
)
def test_what_is_no_command_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        as_command(words, lambda: CATALOG)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["list"], ["list", "--json"]),
        (["list", "--json"], ["list", "--json"]),
        (["LoginCommand", "--", "x"], ["dispatch", "--json", "LoginCommand", "--", "x"]),
        (["events", "list", "--limit", "3"], ["events", "list", "--json", "--limit", "3"]),
        (["trace", "export", "@last"], ["trace", "export", "@last"]),
        (["dead-letters"], ["dead-letters", "--json"]),
    ],
)
def test_json_is_asked_of_every_command_that_gives_it(words, command):
    assert as_command(words, lambda: CATALOG, as_json=True) == command


def test_shell_offers_no_command_that_it_refuses():
    assert not {"run", "shell"} & set(VERBS)
