"""Fields: `email:str`, `count:int=1`, `tags:list[str]` on the command line, as Python source.

A type is one of a closed list of words, so nothing typed becomes code as it is: a default is read as
a value of its type and written down again as a literal.
"""

import keyword
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from microlith_cli.errors import nearest
from microlith_cli.scaffolding.errors import InvalidFieldError
from microlith_cli.scaffolding.source_text import LINE, string_literal

_NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST = 40  # characters: a field and its value then fit a line
_DEEPEST = 8  # list[list[...]]
_BITS = 63  # a message's integers travel as 64-bit JSON numbers

# What every pydantic model, message or read model has already; a field of that name would hide it.
# Written down, because asking pydantic costs more than everything else here; a test compares the two.
TAKEN = frozenset(
    {
        "construct", "copy", "correlated", "dict", "from_orm", "json", "parse_file", "parse_obj",
        "parse_raw", "schema", "schema_json", "update_forward_refs", "validate",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Type:
    """A field's type.

    Attributes:
        annotation: As it is written, such as "list[UUID]".
        sample: A value, as source, for a test.
        imports: Module and name of what the annotation needs.
        value_imports: Module and name of what a sample or a default needs.
    """

    annotation: str
    sample: str
    imports: frozenset[tuple[str, str]] = frozenset()
    value_imports: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message or a row.

    Attributes:
        name: Its name.
        type: Its type.
        default: As source; empty when there is none.
        default_imports: Module and name of what the default needs beyond the annotation.
    """

    name: str
    type: Type
    default: str = ""
    default_imports: frozenset[tuple[str, str]] = frozenset()

    @property
    def imports(self) -> frozenset[tuple[str, str]]:
        """Module and name of what the line in the class body needs."""
        return self.type.imports | self.default_imports

    @property
    def line(self) -> str:
        """The line in the class body."""
        return f"{self.name}: {self.type.annotation}" + (f" = {self.default}" if self.default else "")


def _int(value: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", value) or not -(1 << _BITS) <= int(value) < 1 << _BITS:
        raise ValueError("a whole number of 64 bits, such as 1")
    return str(int(value))


def _float(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not value.isascii():
        raise ValueError("a finite number, such as 1.5")
    return repr(number)


def _bool(value: str) -> str:
    if value.lower() not in {"true", "false"}:
        raise ValueError("true or false")
    return value.capitalize()


def _datetime(value: str) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 (few commands have one)

    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time with its zone, such as 2026-01-02T12:00:00+00:00") from None
    return repr(moment).replace("datetime.datetime", "datetime").replace("datetime.timezone.utc", "UTC")


def _date(value: str) -> str:
    from datetime import date  # noqa: PLC0415 (few commands have one)

    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("a day, such as 2026-01-02") from None
    return f"date({day.year}, {day.month}, {day.day})"


def _uuid(value: str) -> str:
    from uuid import UUID  # noqa: PLC0415 (few commands have one)

    try:
        return f'UUID("{UUID(value)}")'
    except ValueError:
        raise ValueError("a UUID, such as 123e4567-e89b-12d3-a456-426614174000") from None


def _decimal(value: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", value):
        raise ValueError("a decimal number, such as 9.90")
    return f'Decimal("{value}")'


def _secret(_value: str) -> str:
    raise ValueError("left out: a secret does not belong into source code")


def _type(annotation: str, sample: str, *value_imports: tuple[str, str]) -> Type:
    needed = frozenset(value_imports)
    return Type(annotation, sample, frozenset(pair for pair in needed if pair[1] == annotation), needed)


# Word: the type, and how a default is read; what that refuses, it says what it wants.
_WORDS: dict[str, tuple[Type, Callable[[str], str]]] = {
    "str": (_type("str", '"text"'), string_literal),
    "int": (_type("int", "1"), _int),
    "float": (_type("float", "1.5"), _float),
    "bool": (_type("bool", "True"), _bool),
    "datetime": (
        _type("datetime", "datetime(2026, 1, 2, tzinfo=UTC)", ("datetime", "datetime"), ("datetime", "UTC")),
        _datetime,
    ),
    "date": (_type("date", "date(2026, 1, 2)", ("datetime", "date")), _date),
    "uuid": (_type("UUID", "UUID(int=1)", ("uuid", "UUID")), _uuid),
    "decimal": (_type("Decimal", 'Decimal("1.5")', ("decimal", "Decimal")), _decimal),
    "secret": (_type("SecretStr", 'SecretStr("secret")', ("pydantic", "SecretStr")), _secret),
    "email": (_type("str", '"text"'), string_literal),
}
# The same types as they are written in Python, for reading a message that is there.
ANNOTATIONS: dict[str, Type] = {kind.annotation: kind for word, (kind, _) in _WORDS.items() if word != "email"}
KINDS = (*_WORDS, "list[...]")


def parse_fields(texts: Sequence[str]) -> tuple[Field, ...]:
    """Read the fields of one message, each FIELD:TYPE or FIELD:TYPE=DEFAULT.

    Raises:
        InvalidFieldError: One of them cannot be meant, or two have one name.
    """
    fields = tuple(parse_field(text) for text in texts)
    words = {word for field in fields for word in re.findall(r"\w+", field.type.annotation)}
    seen: set[str] = set()
    for field, text in zip(fields, texts, strict=True):
        if len(field.line) + 4 > LINE:
            raise InvalidFieldError(text, f"its line would be longer than {LINE} columns", hint="Shorten its default.")
        if field.name in seen:
            raise InvalidFieldError(field.name, "it is there twice", hint="Give each field a name of its own.")
        if field.name in words:
            # In a class body `date: date = ...` hides the type from the lines below it.
            raise InvalidFieldError(
                field.name,
                "a type used beside it has the same name",
                hint=f"Say which one, such as {field.name}_value.",
            )
        seen.add(field.name)
    return fields


def parse_field(text: str) -> Field:
    """Read one FIELD:TYPE or FIELD:TYPE=DEFAULT.

    Raises:
        InvalidFieldError: It cannot be meant, and why.
    """
    head, equals, default = text.partition("=")
    name, colon, kind = head.partition(":")
    _check_name(text, name)
    if not colon or not kind:
        raise InvalidFieldError(text, "it has no type", hint=f"Write {name}:str, or another of {', '.join(KINDS)}.")
    parsed, read = _parse_type(text, kind, _DEEPEST)
    if equals:
        return _with_default(text, name, kind, parsed, read, default)
    return Field(name, parsed, "None" if kind.endswith("?") else "")


def optional(kind: Type) -> Type:
    """The same type, or None."""
    return replace(kind, annotation=f"{kind.annotation} | None")


def list_of(kind: Type) -> Type:
    """A list of that type."""
    return replace(kind, annotation=f"list[{kind.annotation}]", sample=f"[{kind.sample}]")


def _check_name(text: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidFieldError(
            text, "a field's name is small ASCII letters, digits and _, with a letter first", hint="Write email:str."
        )
    if len(name) > LONGEST:
        raise InvalidFieldError(text, f"its name has {len(name)} characters, {LONGEST} is the limit")
    if keyword.iskeyword(name):
        raise InvalidFieldError(text, f"{name} is a word of Python's own", hint=f"Try {name}_value.")
    if name in TAKEN or name.startswith("model_"):
        raise InvalidFieldError(text, f"every message has a {name} already", hint=f"Try {name.strip('_')}_value.")


def _parse_type(text: str, kind: str, depth: int) -> tuple[Type, Callable[[str], str] | None]:
    """The type, and what reads its default; None for a list."""
    if depth == 0:
        raise InvalidFieldError(text, f"its type is nested deeper than {_DEEPEST}")
    if kind.endswith("?"):
        inner, read = _parse_type(text, kind[:-1], depth - 1)
        if inner.annotation.endswith("| None"):
            raise InvalidFieldError(text, "one ? is enough")
        return optional(inner), read
    if kind.startswith("list[") and kind.endswith("]"):
        return list_of(_parse_type(text, kind[5:-1], depth - 1)[0]), None
    if kind in _WORDS:
        return _WORDS[kind]
    close = nearest(kind, tuple(_WORDS))
    raise InvalidFieldError(
        text,
        f"there is no type {kind[:40]!r}",
        hint=f"Did you mean {close}?" if close else f"Choose one of {', '.join(KINDS)}; a ? behind it allows none.",
    )


def _with_default(
    text: str, name: str, kind: str, parsed: Type, read: Callable[[str], str] | None, default: str
) -> Field:
    if kind.endswith("?") and default.lower() == "none":
        return Field(name, parsed, "None")
    if read is None:
        if default != "[]":
            raise InvalidFieldError(text, "a list can only have [] as its default", hint=f"Write {name}:{kind}=[].")
        return Field(name, parsed, "Field(default_factory=list)", frozenset({("pydantic", "Field")}))
    try:
        return Field(name, parsed, read(default), parsed.value_imports)
    except ValueError as error:
        raise InvalidFieldError(text, f"its default must be {error}") from None
