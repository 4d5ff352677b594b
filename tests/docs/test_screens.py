"""The screens of the tool are those that the documentation shows."""

import pytest

from tests.docs.pages import blocks
from tests.docs.screens import PAGE, WIDTHS, comparable, take


@pytest.mark.slow
@pytest.mark.terminal
@pytest.mark.timeout(150)
@pytest.mark.parametrize("columns", WIDTHS)
def test_screens_are_as_the_page_shows_them(require, columns):
    require("tmux")
    said = [block.text for block in blocks(PAGE, "text")][WIDTHS.index(columns) :: len(WIDTHS)]

    for picture, expected in zip(take(columns), said, strict=True):
        got = f"$ {picture.typed}\n{picture.text}" if picture.typed else picture.text
        assert comparable(got) == comparable(expected), f"{picture.title}, {columns} columns:\n{got}"
