"""The page about the command line says what the tool says."""

import pytest

from tests.meta.cli_docs import BLOCK, LISTED, LISTED_NAME, PAGE, updated


@pytest.mark.timeout(300)  # a process for each command: a busy machine takes a while
def test_page_shows_the_help_of_every_command_as_it_is_printed():
    page = PAGE.read_text("utf-8")

    assert page == updated(page), "run `python -m tests.meta.cli_docs` and read what changed"


def test_block_of_a_page_is_found_with_its_command():
    page = "Text.\n\n```console\n$ microlith new app --help\nUsage: x\n\n  Make.\n```\n\n```console\n$ ls\n```\n"

    assert [block["arguments"] for block in BLOCK.finditer(page)] == ["new app --help"]


def test_commands_in_a_help_text_are_found():
    listed = LISTED.search(
        "Usage: x\n\nCommands:\n  app        Make one,\n             and show it.\n  component  Add.\n"
    )

    assert listed is not None
    assert LISTED_NAME.findall(listed["rows"]) == ["app", "component"]
