"""Each promise is held by a test that exists where the page says."""

import re

from tests.docs.pages import prose
from tests.meta.tree import ROOT

PAGE = ROOT / "docs" / "promises.md"
TEST = re.compile(r"\[(?P<name>test_\w+)\]\(\.\./(?P<file>[\w/.]+)\)")


def rows() -> list[str]:
    return [line for line in prose(PAGE) if line.startswith("| ") and not line.startswith("| promise ")]


def test_each_promise_names_a_test():
    assert rows()
    assert not [row for row in rows() if not TEST.search(row)]


def test_tests_of_the_promises_are_where_the_page_says():
    named = [(match["file"], match["name"]) for row in rows() for match in TEST.finditer(row)]

    assert not [f"{name} in {file}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text("utf-8")]
