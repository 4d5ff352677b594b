"""Places: which components run in this process, and where such a process keeps what it stores.

Components share nothing: a process that runs some of them has a store of its own, beside those of the others.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, urlencode

DEFAULT_STORE = "sqlite:.microlith/events.db"
_VARIABLE = "MICROLITH_COMPONENT"
_SCHEMA = "microlith"
GATEWAY = "gateway"
"""Names a process that runs no component: it sends, asks and waits, such as a web application does."""


def placed(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Return the components that the environment wants run: MICROLITH_COMPONENT, with commas between; None for all."""
    return [name.strip() for name in environ.get(_VARIABLE, "").split(",") if name.strip()] or None


def folder_name(runs: Collection[str] | None) -> str:
    """Name the place of a process that runs some components or none, among those of the others; "" for all (None)."""
    return "" if runs is None else "_".join(sorted(runs)) or GATEWAY


def store_beside(url: str, runs: Collection[str] | None) -> str:
    """Return the url of the store of a process that runs some components or none; unchanged for one that runs all.

    "sqlite:.microlith/events.db" of auth is "sqlite:.microlith/auth/events.db"; of a database it is another schema.
    """
    name = folder_name(runs)
    if not name:
        return url
    scheme, _, rest = url.partition(":")
    path, question, query = rest.partition("?")
    if scheme == "sqlite" and path:
        file = PurePosixPath(path)
        return f"{scheme}:{file.parent / name / file.name}{question}{query}"
    if scheme == "postgresql":
        options = dict(parse_qsl(query, keep_blank_values=True))
        options["schema"] = f"{options.get('schema', _SCHEMA)}_{name}"
        return f"{scheme}:{path}?{urlencode(options)}"
    return url
