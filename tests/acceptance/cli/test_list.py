"""`microlith list` and the help of a message: from a running application, and without one."""

import shlex

import pytest

from tests.acceptance.cli.shop import Tool


def test_everything_is_listed_in_sections(either):
    ended = either("list")

    assert (ended.code, ended.err) == (0, "")
    sections = [block.splitlines()[0] for block in ended.out.split("\n\n")]
    assert sections == ["components", "messages", "handlers", "projections"]
    assert "  command   auth  LoginCommand         auth.login\n" in ended.out
    assert "→ UserLoggedInEvent, LoginErrorRaised" in ended.out
    assert "shop/auth/handlers/all.py:" in ended.out
    assert str(either.folder) not in ended.out


def test_sections_are_chosen(either):
    assert either("list", "--handlers").out.startswith("handlers\n")
    assert either("list", "--projections").out == "projections\n  none\n"
    assert either("list", "--projections").code == 1


def test_list_in_json_is_one_object_a_line(either):
    rows = either("list", "--json").lines

    assert {row["item"] for row in rows} == {"component", "message", "handler"}
    login = next(row for row in rows if row["item"] == "message" and row["type"] == "LoginCommand")
    assert (login["kind"], login["handlers"], login["secrets"]) == ("command", ["auth.login"], ["password"])


def test_component_that_does_not_exist_is_told(either):
    ended = either("list", "nobody")

    assert (ended.code, ended.out) == (2, "")
    assert "There is no component 'nobody'." in ended.err


def test_help_of_a_message_shows_its_fields(either):
    shown = either("dispatch", "LoginCommand", "--help").out

    assert "  Log a user in.\n" in shown
    assert "  --email     text    required. Who it is.\n" in shown
    assert "  --password  secret  required; asked for when left out.\n" in shown
    assert "Handled by auth.login; it returns UserLoggedInEvent, LoginErrorRaised." in shown


def test_help_of_a_message_with_defaults_and_borrowed_names(attached):
    shown = attached("dispatch", "auth.EchoCommand", "--help").out

    for part in ("--address.city", "list of text", "kg|g", 'default "kg".', "--field.timeout", "default true."):
        assert part in shown


@pytest.mark.parametrize("message", ["LoginCommand", "EchoCommand", "SlowCommand", "CurrentUserRequest"])
def test_example_in_the_help_of_a_message_works(attached, message):
    shown = attached("dispatch", message, "--help").out
    example = shown.partition("Example:\n")[2].strip()

    ended = attached(
        *shlex.split(example)[1:], "--data", '{"password": "right"}' if message == "LoginCommand" else "{}"
    )

    assert ended.code == 0, (example, ended)


def test_help_of_a_message_in_json_is_its_catalog_entry(attached):
    (entry,) = attached("dispatch", "LoginCommand", "--help", "--json").lines

    assert entry["schema"]["required"] == ["email", "password", "sid"]


def test_help_of_an_unknown_message_names_the_nearest(either):
    ended = either("dispatch", "LoginComand", "--help")

    assert ended.code == 2
    assert "Did you mean 'LoginCommand'?" in ended.err


def test_help_of_dispatch_needs_no_project(tmp_path):
    ended = Tool(tmp_path)("dispatch", "--help")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: microlith dispatch [OPTIONS] MESSAGE")
