"""The fields of a message, as its JSON schema describes them: their names, types, defaults and secrets.

Reads schemas as pydantic writes them; whether a value fits one is left to the microlith that gets it.

Knows no command line and no message type.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 4  # levels of nested objects that are shown; deeper ones can still be given
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.org",
    "time": "12:00:00Z",
    "uri": "https://example.org",
    "uuid": "0190b6f4-7c1e-7a31-8d57-3f6f6c2f1a10",
}
_CONSTRAINTS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

Node = Mapping[str, Any]


def measured(form: str, value: Any) -> str:
    """Say what a value must meet, from a text with one place in it: "at least 1 item", "at least 2 items"."""
    said = form.format(value)
    return said.removesuffix("s") if value == 1 and form.endswith("s") else said


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
        return tuple(dict.fromkeys(kind for node in self.alternatives for kind in kinds_of(node)))

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
        return tuple(value for node in nodes for value in choices_of(node))

    @property
    def item(self) -> "Field":
        """What a list holds, as a field of the same name."""
        array = next(node for node in self.alternatives if "array" in kinds_of(node))
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
        words = [_word(node) for node in self.alternatives if kinds_of(node) != ("null",)]
        return " or ".join(dict.fromkeys(words)) or "null"

    @property
    def constraints(self) -> tuple[str, ...]:
        """What a value must meet beside its type, such as "at least 1" or "at most 20 characters"."""
        found = [measured(form, node[key]) for node in self._all() for key, form in _CONSTRAINTS.items() if key in node]
        return tuple(dict.fromkeys(found))

    @property
    def sample(self) -> Any:
        """A value that would likely fit."""
        node = next((node for node in self.alternatives if kinds_of(node) != ("null",)), {})
        if examples := self._given.get("examples") or node.get("examples"):
            return examples[0]
        if self.choices:
            return self.choices[0]
        kinds = kinds_of(node)
        if "integer" in kinds or "number" in kinds:
            least = node.get("minimum", node.get("exclusiveMinimum", 0))
            return int(least) + ("minimum" not in node)
        if "object" in kinds or "boolean" in kinds:
            return {} if "object" in kinds else True
        known = _FORMATS.get(str(node.get("format") or self.path[-1]))
        return known or f"some-{self.path[-1].replace('_', '-')}".ljust(node.get("minLength", 0), "x")

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
        parts = [part for part in self.alternatives(node) if kinds_of(part) != ("null",)]
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


def kinds_of(node: Node) -> tuple[str, ...]:
    """The JSON types of one alternative; where it is a choice, those of its values."""
    if (kind := node.get("type")) is not None:
        return tuple(kind) if isinstance(kind, list) else (str(kind),)
    return tuple(dict.fromkeys(KINDS.get(type(value), "object") for value in choices_of(node)))


def choices_of(node: Node) -> tuple[Any, ...]:
    """The values that one alternative is limited to."""
    return (node["const"],) if "const" in node else tuple(node.get("enum", ()))


def _word(node: Node) -> str:
    """One alternative for people."""
    if choices := choices_of(node):
        return "|".join(str(value) for value in choices)
    if "format" in node:
        return str(node["format"])
    words = {"string": "text", "object": "JSON object", "array": "JSON list"}
    return " or ".join(words.get(kind, kind) for kind in kinds_of(node)) or "any JSON"
