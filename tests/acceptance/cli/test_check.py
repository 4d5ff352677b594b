"""`microlith check`: in a running project and in one where nothing runs."""

import pytest

from tests.acceptance.cli.light import heavy_imports

BILLING = 'from microlith import Component\n\nbilling = Component("billing")\n'
REACHING = "from shop.auth.handlers.all import login\n"


@pytest.fixture
def billing(tool):
    """A second component, which reaches into the first."""
    for name, text in {"__init__.py": BILLING, "prices.py": REACHING}.items():
        path = tool.folder / "shop" / "billing" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return tool


def test_components_that_keep_to_themselves_pass(either):
    ended = either("check")

    assert (ended.code, ended.err) == (0, "checked 7 modules, 1 component: 0 errors, 1 note\n")
    assert ended.out == (
        "shop/auth/commands/all.py:33: ML104 note: no handler returns event NeverEvent, and nobody takes it; "
        "return it from a handler, or remove it\n"
    )


def test_an_import_of_more_than_messages_is_found(billing):
    ended = billing("check")

    assert ended.code == 1
    assert ended.out.splitlines()[0] == (
        "shop/billing/prices.py:1: ML102 error: billing imports shop.auth.handlers.all.login, which belongs to auth "
        "and is no message; dispatch the message that it handles"
    )


def test_findings_in_json_are_one_object_a_line(billing):
    error, note = billing("check", "--json").lines

    assert (error["code"], error["severity"], error["file"], error["line"]) == (
        "ML102",
        "error",
        "shop/billing/prices.py",
        1,
    )
    assert (note["code"], note["severity"], note["type"]) == ("ML104", "note", "NeverEvent")


def test_a_command_that_nobody_handles_is_noted_and_no_failure(tool):
    path = tool.folder / "shop" / "auth" / "commands" / "more.py"
    path.write_text("from microlith import Command\n\n\nclass PayCommand(Command):\n    pass\n", "utf-8")

    ended = tool("check")

    assert ended.code == 0
    assert (
        "shop/auth/commands/more.py:4: ML103 note: nobody handles command PayCommand; "
        "microlith new handler auth.PayCommand\n"
    ) in ended.out


def test_what_is_found_in_the_files_is_shown_even_when_they_do_not_import(billing):
    (billing.folder / "shop" / "app.py").write_text("from shop.nowhere import app\n", "utf-8")

    ended = billing("check")

    assert ended.code == 1
    assert "ML102" in ended.out
    assert ended.err.startswith("error shop/app.py:1: ModuleNotFoundError")


def test_checking_beside_a_running_application_imports_nothing_heavy(attached):
    assert heavy_imports(attached, "check") == set()
