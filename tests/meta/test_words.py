"""Names that say nothing, and text that speaks of one machine."""

import re

import pytest

from tests.meta.tree import CODE, PACKAGES, own_files, python_files, shown

EMPTY_NAMES = {
    "base",
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "service",
    "services",
    "util",
    "utils",
}
BARE_IGNORE = re.compile(r"# type: ignore(?:\[[\w, -]+\])?\s*$")
EMPTY_CLASS = re.compile(r"^\s*class \w*(?:Utils?|Helpers?|Manager|Service|Base)\b", re.MULTILINE)
# A folder of someone's own machine; a path in a URL or behind a name is something else.
MACHINE_PATH = re.compile(r"(?<![\w.:/*~-])/(?:root|work|home|tmp|Users)/[\w.-]+")


def test_no_file_has_a_name_that_says_nothing():
    empty = [shown(path) for path in own_files() if EMPTY_NAMES & set(path.stem.lower().split("_"))]

    assert not empty, f"name these by their subject: {empty}"


def test_no_class_has_a_name_that_says_nothing():
    empty = [
        f"{shown(path)}: {match[0].strip()}"
        for path in python_files(*PACKAGES)
        for match in EMPTY_CLASS.finditer(path.read_text("utf-8"))
    ]

    assert not empty, f"name these by what they do: {empty}"


def test_no_file_speaks_of_one_machine():
    spoken = [
        f"{shown(path)}: {match[0]}"
        for path in own_files()
        for match in MACHINE_PATH.finditer(path.read_text("utf-8", errors="replace"))
    ]

    assert not spoken, "machine paths:\n" + "\n".join(spoken)


@pytest.mark.parametrize("folder", ["root", "work", "home", "tmp"])
def test_machine_path_is_recognised(folder):
    assert MACHINE_PATH.search(f'open("/{folder}/x")')


@pytest.mark.parametrize("text", ["https://example.org/work/x", "docs/work/x", "tmp_path / 'x'", "/shop/auth"])
def test_other_paths_are_left_alone(text):
    assert not MACHINE_PATH.search(text)


def test_code_is_looked_at():
    assert len(list(python_files(*CODE))) > len(PACKAGES)


def test_whatever_a_type_checker_is_told_to_overlook_has_a_reason():
    bare = [
        f"{shown(path)}:{number}"
        for path in python_files(*PACKAGES)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if BARE_IGNORE.search(line)
    ]

    assert not bare, f"say why behind it, as in `# type: ignore[misc]  # why`: {bare}"
