"""Rendering: a folder of templates and some values become the text of files.

A name in double braces in a path, and the jinja2 in a file that ends with `.jinja`, are filled in; a
value that is missing is an error. Templates ship with the tool and come from nowhere else.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import microlith_cli
from microlith_cli.scaffolding.errors import TemplatesMissingError
from microlith_cli.scaffolding.source_text import LINE, fitted, from_import, import_block

if TYPE_CHECKING:
    import jinja2

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_SUFFIX = ".jinja"


def template_root() -> Path:
    """Find the templates: inside the tool in a wheel, beside it in a checkout or an editable install.

    Raises:
        TemplatesMissingError: They are in neither place.
    """
    tool = Path(microlith_cli.__file__).parent
    places = (tool / "templates", tool.parent / "templates")
    for place in places:
        if (place / "app" / f"pyproject.toml{_SUFFIX}").is_file():
            return place
    raise TemplatesMissingError([str(place) for place in places])


def render(folder: str, values: Mapping[str, object]) -> dict[str, str]:
    """Fill in every template of a folder, such as "app".

    Args:
        folder: Its name below the templates.
        values: What the templates ask for.

    Returns:
        Path, with slashes, to text.
    """
    root = template_root() / folder
    found = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    rendered = {}
    for path in found:
        text = path.read_text("utf-8")
        name = _PLACE.sub(lambda match: str(values[match[1]]), path.relative_to(root).as_posix())
        rendered[name.removesuffix(_SUFFIX)] = _fill(text, values) if name.endswith(_SUFFIX) else text
    return rendered


def _fill(text: str, values: Mapping[str, object]) -> str:
    return _environment().from_string(text).render(values)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 (70 ms, and only `new` needs it)

    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701 (what comes out is Python, not HTML)
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(fitted=fitted, from_import=from_import, import_block=import_block, line_length=LINE)
    return environment
