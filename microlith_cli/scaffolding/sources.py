"""What a project has already, read from its source: components, messages and who handles them.

Python is parsed, never imported: a project that does not run can still be added to. Only what is
written the plain way is seen, a class directly below Command, Event, Query or Response.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from microlith_cli.project import Project
from microlith_cli.scaffolding.errors import (
    AmbiguousMessageError,
    NoPackageError,
    UnknownComponentError,
    UnknownMessageError,
    UnreadableSourceError,
)
from microlith_cli.scaffolding.fields import ANNOTATIONS, Type, list_of, optional
from microlith_cli.scaffolding.naming import camel_case, snake_case, stem_of, words_of
from microlith_cli.scaffolding.source_text import string_literal

KIND_OF_BASE = {"Command": "command", "Event": "event", "Query": "query", "Response": "response"}
FOLDERS = ("commands", "events", "queries")
_KIND = re.compile(r"(?:Command|Event|Request)$")
_MOST_FILES = 2000  # of one component; a folder that holds more is not one we were asked about
_LARGEST = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class FieldFound:
    """A field of a message that is there.

    Attributes:
        type: None when it is a type the scaffolding does not know, or one with conditions.
        annotation: As it is written, laid out plainly.
        required: Whether a message cannot be made without it.
    """

    name: str
    type: Type | None
    annotation: str
    required: bool


@dataclass(frozen=True, slots=True)
class MessageFound:
    """A message that is there.

    Attributes:
        component: Whose it is.
        kind: "command", "event", "query" or "response".
        path: Its module's file, from the project's root, with slashes.
        module: What to import it from, such as "shop.auth.commands.login".
        answer: A query's response, by class name; empty for the other kinds.
    """

    name: str
    component: str
    kind: str
    path: str
    module: str
    fields: tuple[FieldFound, ...]
    answer: str = ""

    @property
    def stem(self) -> str:
        """What its handler is called after, such as "login" for LoginCommand."""
        module = PurePosixPath(self.path).stem
        plain = _KIND.sub("", self.name)
        return module if camel_case(module) == plain else stem_of(words_of(self.name))


@dataclass(frozen=True, slots=True)
class Sources:
    """The application's package.

    Attributes:
        root: The project's root.
        package: The name of the application's package, such as "shop".
    """

    root: Path
    package: str

    @classmethod
    def of(cls, project: Project) -> Self:
        """The package of a project's application.

        Raises:
            ConfigError: The project does not say where its application is.
            NoPackageError: It is in no package.
        """
        package = project.app.partition(":")[0].partition(".")[0]
        if not (project.root / package).is_dir():
            raise NoPackageError(project.app, package)
        return cls(project.root, package)

    def components(self) -> list[str]:
        """The names of the components, sorted."""
        folder = self.root / self.package
        return sorted(path.parent.name for path in folder.glob("*/__init__.py")) if folder.is_dir() else []

    def require_component(self, name: str) -> None:
        """Make sure that there is such a component.

        Raises:
            UnknownComponentError: There is none.
        """
        known = self.components()
        if name not in known:
            raise UnknownComponentError(name, known)

    def find_message(self, name: str, component: str, *, kinds: tuple[str, ...], elsewhere: bool) -> MessageFound:
        """Find a message by its class name or the short form of it.

        Args:
            name: Such as "LoginCommand", "Login" or "login".
            component: Where to look first.
            kinds: The kinds that are meant.
            elsewhere: Whether to look for an event in the other components too.

        Raises:
            UnknownMessageError: There is none.
            AmbiguousMessageError: It could be more than one.
        """
        messages = [found for found in self.messages(component) if found.kind in kinds]
        matching = _matching(name, messages)
        if not matching and elsewhere:
            others = [each for each in self.components() if each != component]
            matching = _matching(name, [m for each in others for m in self.messages(each) if m.kind == "event"])
        if not matching:
            known = [form for found in messages for form in (camel_case(found.stem), found.name)]
            raise UnknownMessageError(name, component, known)
        if len(matching) > 1:
            raise AmbiguousMessageError(name, [f"{found.component}.{found.name}" for found in matching])
        return matching[0]

    def messages(self, component: str) -> list[MessageFound]:
        """All messages of a component.

        Raises:
            UnreadableSourceError: One of its modules is not Python.
        """
        return [
            message
            for folder in FOLDERS
            for path in self._files(component, folder)
            for message in self._messages_in(path, component)
        ]

    def response(self, query: MessageFound) -> MessageFound | None:
        """The class of a query's response; None when it is not beside the other messages."""
        return next((found for found in self.messages(query.component) if found.name == query.answer), None)

    def defined_in(self, class_name: str, component: str) -> str | None:
        """Where a component defines a class, as "path:line"; None when it does not."""
        return self._first_line(component, FOLDERS, re.compile(rf"^class {class_name}\b", re.MULTILINE))

    def handled_in(self, class_name: str, component: str, *, but: str) -> str | None:
        """Where a component handles a message, as "path:line", leaving one file out; None when it does not."""
        handles = re.compile(rf"^@\w+\.handles\(\s*(?:\w+\.)*{class_name}\b", re.MULTILINE)
        return self._first_line(component, ("handlers",), handles, but=but)

    def _first_line(
        self, component: str, folders: tuple[str, ...], wanted: re.Pattern[str], *, but: str = ""
    ) -> str | None:
        for folder in folders:
            for path in self._files(component, folder):
                shown = path.relative_to(self.root).as_posix()
                text = _read(path, shown)
                if shown != but and (match := wanted.search(text)):
                    return f"{shown}:{text.count(chr(10), 0, match.start()) + 1}"
        return None

    def _files(self, component: str, folder: str) -> list[Path]:
        below = self.root / self.package / component / folder
        found = sorted(below.rglob("*.py"))[:_MOST_FILES] if below.is_dir() else []
        return [path for path in found if path.is_file()]  # reading a pipe would never end

    def _messages_in(self, path: Path, component: str) -> Iterator[MessageFound]:
        shown = path.relative_to(self.root).as_posix()
        try:
            tree = ast.parse(_read(path, shown))
        except SyntaxError as error:
            raise UnreadableSourceError(f"{shown}:{error.lineno}", str(error.msg)) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise UnreadableSourceError(shown, str(error)) from error
        module = shown.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (kind := _kind(node)):
                fields = tuple(_fields(node))
                yield MessageFound(node.name, component, kind, shown, module, fields, _answer(node))


def _matching(name: str, messages: list[MessageFound]) -> list[MessageFound]:
    exact = [found for found in messages if found.name == name]
    if exact:
        return exact
    short = stem_of(snake_case("a message", name))
    return [found for found in messages if found.stem == short]


def _read(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise UnreadableSourceError(shown, f"it has more than {_LARGEST} bytes")
        return path.read_text("utf-8")
    except OSError as error:
        raise UnreadableSourceError(shown, error.strerror or "it cannot be opened") from error
    except UnicodeDecodeError as error:
        raise UnreadableSourceError(shown, f"byte {error.start} is not UTF-8") from error


def _base_name(node: ast.expr) -> str:
    match node:
        case ast.Subscript(value=inner):
            return _base_name(inner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _kind(node: ast.ClassDef) -> str:
    return next((KIND_OF_BASE[name] for base in node.bases if (name := _base_name(base)) in KIND_OF_BASE), "")


def _answer(node: ast.ClassDef) -> str:
    return next((_base_name(base.slice) for base in node.bases if isinstance(base, ast.Subscript)), "")


def _fields(node: ast.ClassDef) -> Iterator[FieldFound]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            if _base_name(line.annotation) == "ClassVar" or line.target.id.startswith("_"):
                continue
            plain = not isinstance(line.value, ast.Call)  # Field(gt=0): a sample may not satisfy it
            kind = _type(line.annotation) if plain else None
            yield FieldFound(line.target.id, kind, ast.unparse(line.annotation), _required(line.value))


def _required(value: ast.expr | None) -> bool:
    match value:
        case None:
            return True
        case ast.Call(args=arguments, keywords=keywords) if _base_name(value.func) == "Field":
            given = bool(arguments) and not (isinstance(arguments[0], ast.Constant) and arguments[0].value is ...)
            return not given and not any(keyword.arg in {"default", "default_factory"} for keyword in keywords)
        case _:
            return False


def _type(node: ast.expr) -> Type | None:
    """The type an annotation means, or None when it is not one of ours."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return ANNOTATIONS.get(name)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return list_of(kind) if (kind := _type(inner)) else None
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return _literal(inner.elts[0] if isinstance(inner, ast.Tuple) else inner, ast.unparse(node))
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return optional(kind) if (kind := _type(left)) else None
        case _:
            return None


def _literal(first: ast.expr, annotation: str) -> Type | None:
    match first:
        case ast.Constant(value=str(text)):
            return Type(annotation, string_literal(text))
        case ast.Constant(value=bool() | int() as value):
            return Type(annotation, str(value))
        case _:
            return None
