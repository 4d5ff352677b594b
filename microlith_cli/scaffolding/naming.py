"""Names: what a package, a module and a message may be called, and how one is made from the other.

A message is named once, `ResetPassword` or `reset_password`; its class, its module and its handler
follow from that. Reads and writes no files.
"""

import builtins
import keyword
import re
import sys
from dataclasses import dataclass
from typing import Literal, NoReturn

from microlith_cli.scaffolding.errors import InvalidNameError

MessageKind = Literal["command", "event", "query"]

LONGEST = 60  # characters: a class name is this plus a suffix, and a file name stays below every limit
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_CAMEL = re.compile(r"[A-Z][A-Za-z0-9]*")
# `ResetPassword`, `HTTPError` and `Step2Done` fall into the words that a person sees in them.
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KIND = re.compile(r"_(?:command|event|request)$")

# What the generated project imports: an application of that name would hide it.
_IMPORTED = frozenset({"argon2", "microlith", "microlith_cli", "mypy", "pydantic", "pytest", "pytest_asyncio", "ruff"})
_BESIDE = frozenset({"test", "tests"})  # Python's own tests, and what lies beside the application's package
_TYPES = frozenset({"date", "datetime"})  # types of fields, imported by these names
_CLASSES = frozenset({"Aggregate", "Command", "Decimal", "Event", "Field", "Process"})  # imported beside it
_SUFFIXES = {
    "command": re.compile(r"_command$"),
    "event": re.compile(r"_event$"),
    "query": re.compile(r"_(?:request|query|response)$"),
}


@dataclass(frozen=True, slots=True)
class MessageName:
    """All the names of one message.

    Attributes:
        module: Of its module, its handler and its test, such as "reset_password".
        class_name: Such as "ResetPasswordCommand".
        response_name: The class of a query's response; empty for the other kinds.
    """

    module: str
    class_name: str
    response_name: str = ""


def app_name(name: str) -> str:
    """Return the name if an application can have it.

    Raises:
        InvalidNameError: It can not, and why.
    """
    _check_package("an application", name)
    if name in sys.stdlib_module_names:
        _refuse("an application", name, "it would hide Python's own module", f"Try {name}_app.")
    if name in _IMPORTED | _BESIDE:
        _refuse("an application", name, "the project needs that name itself", f"Try {name}_app.")
    return name


def component_name(name: str) -> str:
    """Return the name if a component can have it.

    Raises:
        InvalidNameError: It can not, and why.
    """
    _check_package("a component", name)
    if name == "app":
        _refuse("a component", name, "the application is in app.py", "Name it by what it is about.")
    if name in sys.stdlib_module_names or name in _IMPORTED | _BESIDE:
        _refuse("a component", name, "an import of that name would be read as something else", f"Try {name}_desk.")
    if hasattr(builtins, name) or name in _TYPES:
        _refuse("a component", name, "it would hide Python's own name", "Name it by what it is about.")
    return name


def message_name(kind: MessageKind, name: str) -> MessageName:
    """Make all names of a message from the one that was typed.

    `ResetPassword`, `ResetPasswordCommand`, `reset_password` and `reset_password_command` are the same
    command. An event ends with Event, unless it ends with Raised.

    Raises:
        InvalidNameError: No module or class can be called so.
    """
    article = "an event" if kind == "event" else f"a {kind}"
    module = snake_case(article, name)
    module = _SUFFIXES[kind].sub("", module)
    _check_module(article, name, module)
    stem = camel_case(module)
    match kind:
        case "command":
            return MessageName(module, f"{stem}Command")
        case "query":
            return MessageName(module, f"{stem}Request", f"{stem}Response")
        case "event":
            return MessageName(module, stem if stem.endswith("Raised") else f"{stem}Event")


def projection_name(name: str) -> str:
    """Make the name of a projection from the one that was typed, such as "users".

    Raises:
        InvalidNameError: No module can be called so.
    """
    module = snake_case("a projection", name).removesuffix("_projection")
    _check_module("a projection", name, module)
    return module


@dataclass(frozen=True, slots=True)
class StatefulName:
    """The names of an aggregate or a process: its module, such as "order_desk", and its class, "OrderDesk"."""

    module: str
    class_name: str


def stateful_name(kind: Literal["aggregate", "process"], name: str) -> StatefulName:
    """Make the names of an aggregate or a process from the one that was typed.

    Raises:
        InvalidNameError: No module or class can be called so.
    """
    article = "an aggregate" if kind == "aggregate" else "a process"
    module = snake_case(article, name).removesuffix(f"_{kind}")
    _check_module(article, name, module)
    class_name = camel_case(module)
    if class_name in _CLASSES:
        _refuse(article, name, f"the code around it has a {class_name} already", "Say more of what it is about.")
    return StatefulName(module, class_name)


def split_target(what: str, target: str) -> tuple[str, str]:
    """Split COMPONENT.NAME; the component is checked, the name is not.

    Raises:
        InvalidNameError: There is not exactly one dot, or the component cannot be called so.
    """
    component, dot, name = target.partition(".")
    if not dot or not component or not name or "." in name:
        _refuse(what, target, "it is not COMPONENT.NAME", "Write the component too, such as auth.ResetPassword.")
    return component_name(component), name


def snake_case(what: str, name: str) -> str:
    """Turn CamelCase or snake_case into snake_case.

    Raises:
        InvalidNameError: It is neither.
    """
    if not _SNAKE.fullmatch(name) and not _CAMEL.fullmatch(name):
        _refuse(what, name, "only ASCII letters and digits can be used", "Write ResetPassword or reset_password.")
    words = name if _SNAKE.fullmatch(name) else words_of(name)
    _check_length(what, name, words)
    return words


def words_of(class_name: str) -> str:
    """Turn the name of a class that is there into snake_case, whatever it looks like."""
    return _WORD_START.sub("_", class_name).lower()


def stem_of(words: str) -> str:
    """Leave out what a message's class name says of its kind: "login" of "login_command"."""
    return _KIND.sub("", words) or words


def camel_case(name: str) -> str:
    """Turn snake_case into CamelCase."""
    return "".join(word.capitalize() for word in name.split("_"))


def _check_package(what: str, name: str) -> None:
    _check_length(what, name, name)
    if not _PACKAGE.fullmatch(name):
        _refuse(
            what,
            name,
            "it must be small ASCII letters, digits and _, with a letter first",
            f"Try {suggestion}." if (suggestion := _package_like(name)) else "Write a name such as shop.",
        )
    if keyword.iskeyword(name):
        _refuse(what, name, "it is a word of Python's own", f"Try {name}s.")


def _check_module(what: str, name: str, module: str) -> None:
    if keyword.iskeyword(module) or module in {"", "command", "event", "query", "table"} | _TYPES:
        _refuse(what, name, "that word is taken in the code around it", "Say more of what it does.")


def _check_length(what: str, name: str, written: str) -> None:
    if len(written) > LONGEST:
        _refuse(what, name, f"it has {len(written)} characters, {LONGEST} is the limit", "Shorten it.")


def _package_like(name: str) -> str:
    """The nearest name that would do; empty when nothing is near."""
    plain = re.sub(r"[^a-z0-9]+", "_", _WORD_START.sub("_", name).lower()).strip("_")[:LONGEST]
    return plain if name.isascii() and _PACKAGE.fullmatch(plain) and not keyword.iskeyword(plain) else ""


def _refuse(what: str, name: str, problem: str, hint: str) -> NoReturn:
    raise InvalidNameError(what, name, problem, hint=hint)
