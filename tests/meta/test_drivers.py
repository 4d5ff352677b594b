"""One driver, one place: which file may import which library.

The layers say who may know whom inside the two packages; this says it about what comes from outside.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.meta.tree import PACKAGES, python_files, shown

# Library: the files that may import it. `*` crosses folders.
ALLOWED = {
    "aio_pika": (),  # its connections mend themselves too late: see docs/decisions/0015-rabbitmq.md
    "aiormq": ("microlith/transports/rabbitmq/*",),
    "click": (),  # typer brings its own; the tool imports from typer only
    "cryptography": ("microlith/privacy/sealing.py",),
    "confluent_kafka": ("microlith/transports/kafka*",),
    "pamqp": ("microlith/transports/rabbitmq/*",),
    "jinja2": ("microlith_cli/scaffolding*",),
    "psycopg": ("microlith/event_store/postgres*",),
    "psycopg_pool": (),  # what the store lends is one statement at a time, and what it holds is more than a pool knows
    "pytest": ("microlith/testing/*",),
    "rich": ("microlith_cli/console/*",),
    "sqlite3": ("microlith/event_store/sqlite*",),
    "tomli": ("microlith/config*", "microlith_cli/config*", "microlith_cli/project*"),
    "tomllib": (),  # tomli is the same and faster
    "typer": ("microlith_cli/*",),
    "watchfiles": ("microlith_cli/supervisor/*",),
}
# Never, anywhere: what they read can run code.
FORBIDDEN = ("dill", "marshal", "pickle", "shelve", "yaml")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level names a file imports, inside functions too, with their lines."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name.partition(".")[0], node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0], node.lineno


def importers(library: str) -> dict[str, int]:
    return {shown(path): line for path in python_files(*PACKAGES) for name, line in imported(path) if name == library}


@pytest.mark.parametrize("library", ALLOWED)
def test_library_is_imported_in_its_own_place_only(library):
    strangers = {
        name: line
        for name, line in importers(library).items()
        if not any(fnmatch(name, pattern) for pattern in ALLOWED[library])
    }

    assert not strangers, f"{library} belongs in {ALLOWED[library]}; imported in {strangers}"


@pytest.mark.parametrize("library", FORBIDDEN)
def test_library_that_runs_what_it_reads_is_never_imported(library):
    assert not importers(library)


def test_imports_inside_functions_are_seen(tmp_path):
    source = tmp_path / "lazy.py"
    source.write_text("def f():\n    from rich.table import Table\n", "utf-8")

    assert list(imported(source)) == [("rich", 2)]
