"""The fields of a message, as its JSON schema describes them: their names, types, defaults and secrets.

Reads schemas as pydantic writes them. Turns text into the JSON value that a field takes; whether an address
is one, or a number in range, is left to the microlith that gets it.

Knows no command line and no message type.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from microlith_cli.errors import UnsafeJsonError, nearest
from microlith_cli.strict_json import parse

_DEEPEST = 4  # levels of nested objects that are shown; deeper ones can still be given
_FLOAT_DIGITS = 15
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.org",
    "time": "12:00:00Z",
    "uri": "https://example.org",
    "uuid": "0190b6f4-7c1e-7a31-8d57-3f6f6c2f1a10",
}
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

Node = Mapping[str, Any]


class Field:
    """One field of a message, at any depth, as its schema describes it.

    Attributes:
        path: Its names from the message down.
        required: Whether the message, or the object it lies in, needs it.
        alternatives: The schemas it may fit; one for most, one more where it may be null.
    """

    __slots__ = ("_given", "_schema", "alternatives", "path", "required")

    def __init__(self, schema: "Schema", path: tuple[str, ...], node: Node, *, required: bool) -> None:
        self._schema = schema
        self._given = node
        self.path = path
        self.required = required
        self.alternatives = schema.alternatives(node)

    @property
    def name(self) -> str:
        """The dotted name, such as "address.zip_code"."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """The flag, such as "--address.zip-code"."""
        return "--" + self.name.replace("_", "-")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The JSON types it takes; empty when it takes anything."""
        return tuple(dict.fromkeys(kind for node in self.alternatives for kind in _kinds(node)))

    @property
    def is_list(self) -> bool:
        """Whether its flag is given once for each item."""
        return "array" in self.kinds

    @property
    def is_switch(self) -> bool:
        """Whether its flag needs no value."""
        return set(self.kinds) - {"null"} == {"boolean"}

    @property
    def is_secret(self) -> bool:
        """Whether nobody should see its value: a pydantic SecretStr."""
        return any(node.get("writeOnly") or node.get("format") == "password" for node in self._all())

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values it is limited to; empty when it is not."""
        nodes = self.item.alternatives if self.is_list else self.alternatives
        return tuple(value for node in nodes for value in _choices(node))

    @property
    def item(self) -> "Field":
        """What a list holds, as a field of the same name."""
        array = next(node for node in self.alternatives if "array" in _kinds(node))
        return Field(self._schema, self.path, array.get("items") or {}, required=True)

    @property
    def doc(self) -> str:
        """What its author says about it, on one line."""
        return " ".join(next((str(node["description"]) for node in self._all() if node.get("description")), "").split())

    @property
    def default(self) -> str | None:
        """Its default as JSON; None when it has none, or one that only Python knows."""
        return json.dumps(self._given["default"], ensure_ascii=False) if "default" in self._given else None

    @property
    def kind(self) -> str:
        """Its type for people, such as "integer", "a|b|c" or "list of date"."""
        if self.is_secret:
            return "secret"
        if self.choices and not self.is_list:
            return "|".join(str(value) for value in self.choices)
        if self.is_list:
            return f"list of {self.item.kind}"
        words = [_word(node) for node in self.alternatives if _kinds(node) != ("null",)]
        return " or ".join(dict.fromkeys(words)) or "null"

    @property
    def sample(self) -> Any:
        """A value that would likely fit."""
        node = next((node for node in self.alternatives if _kinds(node) != ("null",)), {})
        if examples := self._given.get("examples") or node.get("examples"):
            return examples[0]
        if self.choices:
            return self.choices[0]
        kinds = _kinds(node)
        if "integer" in kinds or "number" in kinds:
            least = node.get("minimum", node.get("exclusiveMinimum", 0))
            return int(least) + ("minimum" not in node)
        if "object" in kinds or "boolean" in kinds:
            return {} if "object" in kinds else True
        known = _FORMATS.get(str(node.get("format") or self.path[-1]))
        return known or f"some-{self.path[-1].replace('_', '-')}".ljust(node.get("minLength", 0), "x")

    def read(self, text: str) -> Any:
        """Turn the text of a flag into the value that goes into the payload.

        Raises:
            ValueError: It cannot be one; the text says what it must be.
        """
        kinds = self.kinds
        if "null" in kinds and text == "null":
            return None
        if self.choices and not self.is_list:
            return _choose(text, self.alternatives)
        # A Decimal is a number or a text: what a float cannot hold exactly goes as a text.
        exact = "string" in kinds and sum(map(str.isdigit, text)) > _FLOAT_DIGITS
        if not exact and (value := _read_scalar(text, kinds)) is not None:
            return value
        if "string" in kinds:
            return text
        return _read_json(text, kinds, self.kind)

    def _all(self) -> Iterator[Node]:
        yield self._given
        yield from self.alternatives


class Schema:
    """The fields of one message type, found by the names a person would type."""

    def __init__(self, schema: Node) -> None:
        self._root = schema
        self._definitions: Node = schema.get("$defs") or {}

    def field(self, name: str) -> Field | None:
        """Find a field by its dotted name, `-` and `_` alike; None when there is none."""
        node: Node = self._root
        path: tuple[str, ...] = ()
        required = True
        found: Field | None = None
        for part in name.split("."):
            step = self._step(node, part)
            if step is None:
                return None
            key, node, here = step
            path, required = (*path, key), required and here
            found = Field(self, path, node, required=required)
        return found

    def fields(self) -> list[Field]:
        """The fields in their order; a nested object is shown as its own fields."""
        return list(self._fields(self._root, (), required=True))

    def alternatives(self, node: Node) -> tuple[Node, ...]:
        """Resolve references and unions; bounded, should a schema refer to itself."""
        found: list[Node] = []
        rest = [node]
        for _ in range(64):
            if not rest:
                break
            part = rest.pop(0)
            for union in ("anyOf", "oneOf"):
                if union in part:
                    rest = [*part[union], *rest]
                    break
            else:
                if "$ref" in part:
                    rest.insert(0, self._definitions.get(str(part["$ref"]).rpartition("/")[2], {}))
                elif len(part.get("allOf", ())) == 1:
                    rest.insert(0, part["allOf"][0])
                else:
                    found.append(part)
        return tuple(found)

    def missing(self, payload: Mapping[str, Any]) -> list[Field]:
        """The required fields that a payload leaves out, in their order."""
        return list(self._missing(self._root, payload, ()))

    def _step(self, node: Node, part: str) -> tuple[str, Node, bool] | None:
        """From an object to its field; also to any key of an object that takes all."""
        for part_of in self.alternatives(node):
            properties = part_of.get("properties") or {}
            for key, inner in properties.items():
                if part == key or part.replace("-", "_") == key.replace("-", "_"):
                    return key, inner, key in part_of.get("required", ())
            extra = part_of.get("additionalProperties")
            if not properties and (extra is True or isinstance(extra, dict)):
                return part, extra if isinstance(extra, dict) else {}, False
        return None

    def _fields(self, node: Node, path: tuple[str, ...], *, required: bool) -> Iterator[Field]:
        for part in self.alternatives(node):
            for key, inner in (part.get("properties") or {}).items():
                needed = required and key in part.get("required", ())
                field = Field(self, (*path, key), inner, required=needed)
                if len(path) < _DEEPEST and any(alternative.get("properties") for alternative in field.alternatives):
                    yield from self._fields(inner, field.path, required=needed)
                else:
                    yield field

    def _missing(self, node: Node, value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Field]:
        parts = [part for part in self.alternatives(node) if _kinds(part) != ("null",)]
        if len(parts) != 1 or len(path) > _DEEPEST:
            return  # which of several is meant, the receiver says
        (part,) = parts
        for key, inner in (part.get("properties") or {}).items():
            given = value.get(key)
            if key not in value:
                if key in part.get("required", ()):
                    field = Field(self, (*path, key), inner, required=True)
                    yield from list(self._missing(inner, {}, field.path)) or [field]
            elif isinstance(given, dict):
                yield from self._missing(inner, given, (*path, key))


def _kinds(node: Node) -> tuple[str, ...]:
    """The JSON types of one alternative; a list of choices has those of its values."""
    if (kind := node.get("type")) is not None:
        return tuple(kind) if isinstance(kind, list) else (str(kind),)
    return tuple(dict.fromkeys(_KINDS.get(type(value), "object") for value in _choices(node)))


def _choices(node: Node) -> tuple[Any, ...]:
    return (node["const"],) if "const" in node else tuple(node.get("enum", ()))


def _word(node: Node) -> str:
    """One alternative for people."""
    if choices := _choices(node):
        return "|".join(str(value) for value in choices)
    if "format" in node:
        return str(node["format"])
    words = {"string": "text", "object": "JSON object", "array": "JSON list"}
    return " or ".join(words.get(kind, kind) for kind in _kinds(node)) or "any JSON"


def _choose(text: str, alternatives: Sequence[Node]) -> Any:
    """Find the choice that was meant. Raises ValueError: none was."""
    choices = [value for node in alternatives for value in _choices(node)]
    for value in choices:
        if text == (value if isinstance(value, str) else json.dumps(value)):
            return value
    shown = [str(value) for value in choices]
    close = nearest(text, shown)
    raise ValueError(f"must be one of {', '.join(shown)}" + (f"; did you mean {close}?" if close else ""))


def _read_scalar(text: str, kinds: Sequence[str]) -> Any:
    """Read a number or a truth value; None when the text is neither, of those that are asked for."""
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    if "boolean" in kinds and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    return None


def _read_json(text: str, kinds: Sequence[str], wanted: str) -> Any:
    """Read JSON of one of some types. Raises ValueError: it is not, or it is no JSON."""
    try:
        value = parse(text.encode("utf-8", "surrogatepass"))
    except UnsafeJsonError:
        if not kinds:
            return text
        raise ValueError(f"must be {_article(wanted)}") from None
    named = "array" if isinstance(value, list) else _KINDS.get(type(value), "object")
    if kinds and named not in kinds:
        raise ValueError(f"must be {_article(wanted)}")
    return value


def _article(word: str) -> str:
    if word.startswith("any"):
        return word
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
