"""What may not be shown of a message: its secrets and its personal fields, masked or in clear.

A field is a secret by its type, or by its name.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

from microlith.messages import Message
from microlith.payloads import MASK, is_secret_name, redact
from microlith.privacy.marking import personal_fields, personal_values


def shown_fields(message: Message) -> dict[str, Any]:
    """Return a message's fields as decoded JSON with every secret and every personal field masked."""
    masked: dict[str, Any] = redact(message.model_dump(mode="json"))
    for name, field in personal_fields(type(message)).items():
        if masked.get(name) not in (None, field.erased):
            masked[name] = MASK
    return masked


def reveal(model: BaseModel, *, warnings: bool = True) -> dict[str, Any]:
    """Return a model's fields as decoded JSON with its secrets in clear; values that do not fit are warned about."""
    dumped: dict[str, Any] = model.model_dump(mode="json", warnings=warnings)
    _reveal_into(model, dumped)
    return dumped


def hidden_values(message: Message) -> Iterator[str]:
    """Yield what may not be shown of a message: the clear text of its secrets and of its personal fields."""
    yield from secret_values(message)
    yield from personal_values(message)


def in_clear(value: Any, dumped: Any) -> Any:
    """Return what was dumped of any value as JSON with the secrets in the value in clear."""
    return _reveal_into(value, dumped)


def may_hold_secrets(cls: type[BaseModel]) -> bool:
    """Tell whether a field of a model, at any depth, is a secret by its type."""
    # The schema is the one place that also shows secrets in nested models, lists and unions.
    return "pydantic.types.Secret" in str(cls.__pydantic_core_schema__)


def secret_values(value: Any) -> Iterator[str]:
    """Yield the clear text of every secret in a model, at any depth: secret by its type, or by its field's name."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, Secret):
        yield str(value.get_secret_value())
    elif isinstance(value, BaseModel) or is_dataclass(value):
        for name in _field_names(value):
            field = getattr(value, name)
            if isinstance(field, str) and is_secret_name(name):
                yield field
            else:
                yield from secret_values(field)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secret_values(item)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for item in value:
            yield from secret_values(item)


def _reveal_into(value: Any, dumped: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode()
    if isinstance(value, Secret):
        return to_jsonable_python(value.get_secret_value())
    if (isinstance(value, BaseModel) or is_dataclass(value)) and isinstance(dumped, dict):
        for name in _field_names(value):
            if name in dumped:
                dumped[name] = _reveal_into(getattr(value, name), dumped[name])
    elif isinstance(value, dict) and isinstance(dumped, dict):
        for item, (key, shown) in zip(value.values(), list(dumped.items()), strict=False):
            dumped[key] = _reveal_into(item, shown)
    elif isinstance(value, list | tuple | set | frozenset | deque) and isinstance(dumped, list):
        dumped[:] = [_reveal_into(item, shown) for item, shown in zip(value, dumped, strict=False)]
    return dumped


def _field_names(value: Any) -> Iterable[str]:
    return type(value).model_fields if isinstance(value, BaseModel) else [field.name for field in fields(value)]
