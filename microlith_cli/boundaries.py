"""The boundary between components: one may import another's messages and nothing else of it.

Reads the project's source files and follows what they import, also through modules of no component that
pass a name on. What is imported by a name that only the running program knows is not seen.

Imports no code of the user's.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from warnings import catch_warnings, simplefilter

from microlith_cli.places import shown

OPEN = ("commands", "events", "queries")  # a component's packages that hold its messages
_KINDS = frozenset({"Command", "Event", "Query", "Response"})
_MOST_STEPS = 32  # from an import to the definition
_FIXES = {
    "handlers": "dispatch the message that it handles",
    "projections": "ask {owner} with a query, or keep a read model of your own from its events",
    "": "send {owner} a message, or ask it with a query",
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """One import that reaches into another component, or a file that cannot be read.

    Attributes:
        file: From the project's root.
        line: From 1.
        component: Whose file it is; empty when it is no component's.
        owner: The component that is reached into; empty for a file that cannot be read.
        imported: What is imported, in full; or what is wrong with the file.
        fix: What to do instead.
    """

    file: str
    line: int
    component: str
    owner: str
    imported: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Import:
    """One imported name, in full: `name` of `module`; an empty name for the module itself, * for all of it."""

    line: int
    module: str
    name: str
    bound: str


class Sources:
    """The project's modules, parsed, and the components they belong to.

    Args:
        root: The project's folder; files are shown from there.
        folder: Where its packages lie.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self.broken: list[Crossing] = []
        self.files: dict[str, Path] = dict(_modules(folder))
        self._trees = {name: tree for name, path in self.files.items() if (tree := self._parse(path)) is not None}
        self._imports = {name: list(self._imports_of(name, tree)) for name, tree in self._trees.items()}
        self.components: dict[str, str] = {}
        for name, tree in self._trees.items():
            found = list(_declared(tree, self._imports[name]))
            if len(found) == 1:  # of several in one module, nobody knows whose the rest is
                self.components[name] = found[0]

    def crossings(self) -> Iterator[Crossing]:
        """Find every import that reaches into another component, file by file."""
        yield from self.broken
        for module in sorted(self._trees):
            component = self.owner(module)
            seen = set()
            for each in self._imports[module] if component else ():
                owner, where = self._reached(each.module, each.name, component)
                if owner and (each.line, where) not in seen:
                    seen.add((each.line, where))
                    part = _part(where, self._package_of(where))
                    fix = _FIXES.get(part, _FIXES[""]).format(owner=owner)
                    file = shown(self.files[module], self._root)
                    yield Crossing(file, each.line, component, owner, where, fix)

    def owner(self, module: str) -> str:
        """The component a module belongs to; empty when it is none's."""
        return self.components.get(self._package_of(module), "")

    def _package_of(self, module: str) -> str:
        """The module that declares the component which a module lies in."""
        while module and module not in self.components:
            module = module.rpartition(".")[0]
        return module

    def _reached(self, module: str, name: str, component: str) -> tuple[str, str]:
        """Whose inside an import of a component reaches, and what of it; empty names when it reaches none."""
        for _ in range(_MOST_STEPS):
            if name and f"{module}.{name}" in self.files:
                module, name = f"{module}.{name}", ""
            package = self._package_of(module)
            if self.owner(module) == component:
                return "", ""
            if package and (_part(module, package) in OPEN or (name and self._is_message(module, name))):
                return "", ""
            passed = next((each for each in self._imports.get(module, ()) if name and each.bound == name), None)
            if passed is None or passed.module not in self.files:
                break
            module, name = passed.module, passed.name
        return self.owner(module), f"{module}.{name}" if name else module

    def _is_message(self, module: str, name: str, steps: int = _MOST_STEPS) -> bool:
        """Whether a module's name means a class of messages, also one that it only passes on."""
        if steps == 0:
            return False
        tree = self._trees.get(module)
        for node in tree.body if tree is not None else ():
            if isinstance(node, ast.ClassDef) and node.name == name:
                return any(self._is_message(module, base, steps - 1) for base in map(_base_name, node.bases) if base)
        qualifier, _, last = name.rpartition(".")
        passed = next((each for each in self._imports.get(module, ()) if each.bound == (qualifier or name)), None)
        if passed is None:
            return False
        if passed.module.partition(".")[0] == "microlith":
            return (last if qualifier else passed.name) in _KINDS
        if not qualifier:
            return self._is_message(passed.module, passed.name, steps - 1)
        return self._is_message(".".join(filter(None, (passed.module, passed.name))), last, steps - 1)

    def _parse(self, path: Path) -> ast.Module | None:
        try:
            with catch_warnings():
                simplefilter("ignore")  # such as about escapes in texts: not what was asked
                return ast.parse(path.read_bytes(), path.name)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
            line = (error.lineno if isinstance(error, SyntaxError) else None) or 1
            reason = {SyntaxError: "msg", OSError: "strerror"}
            said = next((getattr(error, name) for kind, name in reason.items() if isinstance(error, kind)), str(error))
            said = f"{type(error).__name__}: {said}"
            self.broken.append(Crossing(shown(path, self._root), line, "", "", said, "mend it"))
            return None

    def _imports_of(self, module: str, tree: ast.Module) -> Iterator[_Import]:
        package = module if self.files[module].name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield _Import(node.lineno, alias.name, "", alias.asname or alias.name)
            elif isinstance(node, ast.ImportFrom):
                start = _absolute(package, node.level, node.module or "")
                for alias in node.names:
                    yield _Import(node.lineno, start, alias.name, alias.asname or alias.name)
            elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield _Import(node.lineno, first.value, "", "")


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every module below a folder, by its full name; without the tests, and without folders that are no packages."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "test")):
            continue
        if path.suffix == ".py" and path.stem.isidentifier():
            yield path.stem, path
        elif (path / "__init__.py").is_file():
            for file in sorted(path.rglob("*.py")):
                parts = file.relative_to(folder).with_suffix("").parts
                if all(map(str.isidentifier, parts)):
                    yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def _declared(tree: ast.Module, imports: list[_Import]) -> Iterator[str]:
    """The components that a module declares at its top: `auth = Component("auth")`."""
    named = {each.bound for each in imports if each.module.startswith("microlith") and each.name == "Component"}
    for node in tree.body:
        call = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if not isinstance(call, ast.Call) or ast.unparse(call.func) not in {*named, "microlith.Component"}:
            continue
        given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
        if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
            yield given[0].value


def _part(module: str, package: str) -> str:
    """The part of a component that a module lies in, such as "handlers"; empty for the component itself."""
    return module.removeprefix(package).lstrip(".").partition(".")[0]


def _base_name(base: ast.expr) -> str:
    """The name of a base class: X, X[...] or module.X."""
    if isinstance(base, ast.Subscript):
        base = base.value
    if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
        return f"{base.value.id}.{base.attr}"
    return base.id if isinstance(base, ast.Name) else ""


def _called(call: ast.Call) -> str:
    """The name of the function that a call names, without what it stands in."""
    return str(getattr(call.func, "id", "") or getattr(call.func, "attr", ""))


def _absolute(package: str, level: int, module: str) -> str:
    """The full name of what `from ..x import` means inside a package."""
    if not level:
        return module
    parts = package.split(".")
    start = parts[: max(0, len(parts) - level + 1)]
    return ".".join([*start, *filter(None, [module])])
