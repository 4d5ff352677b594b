"""Python source, laid out as the formatter would: literals, imports, and what does not fit a line.

Nothing here knows what the source is about.
"""

import re
import sys
from collections.abc import Iterable, Sequence

LINE = 100  # columns; the generated project's own setting


def string_literal(text: str) -> str:
    """Write a text as a Python literal that holds no invisible character."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    body = repr(f"{text}\"'")[1:-4].replace("\\'", "'")  # with both quotes in it, repr takes '...' and escapes '
    return quote + body.replace(quote, f"\\{quote}") + quote


def fitted(head: str, items: Sequence[str], tail: str, *, indent: int = 0) -> str:
    """Put some items between a head and a tail: on one line if they fit, else each on its own.

    Args:
        head: What comes before, such as "call(".
        items: The items, in order.
        tail: What comes behind, such as ")".
        indent: Columns the first line stands in already.
    """
    line = f"{head}{', '.join(items)}{tail}"
    if indent + len(line) <= LINE:
        return line
    space = " " * indent
    inner = "".join(f"{space}    {item},\n" for item in items)
    return f"{head}\n{inner}{space}{tail}"


def from_import(module: str, *names: str) -> str:
    """Write `from module import names`."""
    ordered = sorted(names, key=_name_order)
    line = f"from {module} import {', '.join(ordered)}"
    return line if len(line) <= LINE else fitted(f"from {module} import (", ordered, ")")


def import_block(pairs: Iterable[tuple[str, str]], *, first_party: str) -> str:
    """Write all imports of a module: the standard library's, others' and the project's own.

    Args:
        pairs: Module and name, in any order.
        first_party: The project's package.
    """
    modules: dict[str, set[str]] = {}
    for module, name in pairs:
        modules.setdefault(module, set()).add(name)
    sections: tuple[list[str], ...] = ([], [], [])
    for module in sorted(modules, key=_natural):
        top = module.partition(".")[0]
        section = 2 if top == first_party else 0 if top in sys.stdlib_module_names else 1
        sections[section].append(from_import(module, *modules[module]))
    return "\n\n".join("\n".join(section) for section in sections if section)


def _name_order(name: str) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """Constants, then classes, then the rest, as import sorters do."""
    rank = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return rank, _natural(name)


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that puts b2 before b10."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D", text))
