"""How long a file and a function may be."""

import ast
import warnings

import pytest

from tests.meta.tree import CODE, python_files, shown

FILE_AIM = 300
FILE_LIMIT = 500
FUNCTION_LIMIT = 60


def lengths() -> dict[str, int]:
    return {shown(path): len(path.read_text("utf-8").splitlines()) for path in python_files(*CODE)}


def test_no_file_is_longer_than_the_limit():
    too_long = {name: length for name, length in lengths().items() if length > FILE_LIMIT}

    assert not too_long, f"split these by subject (limit {FILE_LIMIT} lines): {too_long}"


@pytest.mark.filterwarnings("default")
def test_files_longer_than_the_aim_are_named():
    for name, length in lengths().items():
        if length > FILE_AIM:
            warnings.warn(f"{name} has {length} lines; the aim is {FILE_AIM}", stacklevel=1)


def test_no_function_is_longer_than_the_limit():
    too_long = [
        f"{shown(path)}:{node.lineno} {node.name} has {length} lines"
        for path in python_files(*CODE)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LIMIT
    ]

    assert not too_long, f"limit {FUNCTION_LIMIT} lines:\n" + "\n".join(too_long)
