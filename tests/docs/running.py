"""Runs the Python blocks of a page, one after the other in one namespace and one event loop, as a person would.

`await` stands at the top level, as in `python -m asyncio`. A text block after a Python block is what it prints.
"""

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from microlith import Microlith
from tests.docs.pages import python_blocks, shown

NAME = "microlith_docs_page"
# What differs from run to run, and what is put in its place on both sides.
VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d+(\.\d+)? ms\b"), "N ms"),
)


async def run_page(page: Path) -> None:
    """Run a page's blocks from the first to the last; stop what they have started."""
    module = ModuleType(NAME)
    # A module that is not imported has none, and Python 3.13 looks for them.
    vars(module)["__builtins__"] = builtins
    sys.modules[NAME] = module
    try:
        for block, expected in python_blocks(page):
            source = "\n" * (block.line - 1) + block.text
            code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            run: Callable[[], Any] = FunctionType(code, vars(module))
            printed = StringIO()
            with redirect_stdout(printed):
                running = run()
                if inspect.iscoroutine(running):
                    await running
            if expected is not None:
                got = steady(printed.getvalue())
                assert got == steady(expected), f"{shown(page)}:{block.end} prints this instead:\n{got}"
    finally:
        for value in list(vars(module).values()):
            if isinstance(value, Microlith):
                await value.stop(drain=0)
        del sys.modules[NAME]


def steady(text: str) -> str:
    """A text with ids and durations made equal."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
