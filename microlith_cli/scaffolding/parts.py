"""What the files of every kind have in common: packages, imports, sample values."""

from collections.abc import Mapping, Sequence

from microlith_cli.scaffolding.errors import InvalidNameError
from microlith_cli.scaffolding.planning import Wanted
from microlith_cli.scaffolding.rendering import render
from microlith_cli.scaffolding.source_text import import_block
from microlith_cli.scaffolding.sources import FieldFound, Sources

PACKAGES = ("commands", "events", "handlers", "projections", "queries")
Imports = set[tuple[str, str]]


def samples(fields: Sequence[FieldFound]) -> list[str] | None:
    """Arguments that make a message; None when one has a type that is not known."""
    required = [field for field in fields if field.required]
    if any(field.type is None for field in required):
        return None
    return [f"{field.name}={field.type.sample}" for field in required if field.type]


def sample_imports(fields: Sequence[FieldFound]) -> Imports:
    """Module and name of what the samples need."""
    return {pair for field in fields if field.required and field.type for pair in field.type.value_imports}


def imports_of(sources: Sources, *groups: Imports | frozenset[tuple[str, str]]) -> str:
    """The imports of a module, from groups of module and name."""
    return import_block({pair for group in groups for pair in group}, first_party=sources.package)


def home_of(sources: Sources, owner: str) -> str:
    """Where a component is declared."""
    return f"{sources.package}/{owner}/__init__.py"


def packages(package: str, owner: str) -> dict[str, str]:
    """The folders of a new component."""
    files: dict[str, str] = {}
    for folder in PACKAGES:
        files |= render("package", {"app": package, "component": owner, "folder": folder})
    return files


def wanted_of(what: str, files: Mapping[str, str], uses: Sequence[str], **others: tuple[str, ...]) -> Wanted:
    """Tests and the `__init__.py` of a folder may be there in whatever form."""
    loose = frozenset(path for path in files if path.startswith("tests/") or path.endswith("/__init__.py"))
    return Wanted(what, files, loose, tuple(uses), **others)


def package_of(sources: Sources, owner: str, folder: str) -> dict[str, str]:
    """The package that a part of a component lies in."""
    return render("package", {"app": sources.package, "component": owner, "folder": folder})


def refuse_own_name(owner: str, module: str, typed: str) -> None:
    """Two things called `auth` in one module: the component and the function."""
    if module == owner:
        raise InvalidNameError(
            "a part of this component", typed, "the component is called so", hint="Say what it does."
        )
