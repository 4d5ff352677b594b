"""Which fields of a message are personal, whose they are, and what is read in their place after an erasure.

Everything that can be wrong with a mark is found when the application is wired.
"""

import string
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from microlith.errors import UnsafePayloadError, WiringError

ERASED: Final = "[erased]"
"""What a text reads as after its subject was erased, unless its mark says something else."""
SEALED: Final = "$personal"
"""Key of the sealed fields in a stored payload; no field can be called so."""
MARK: Final = b'"$personal"'
_UNSAID: Final = object()


class PersonalFieldError(WiringError):
    """A field is marked as personal in a way that cannot work."""


class Personal:
    """Marks a field of a message as personal: `email: Annotated[str, Personal("user_id")]`.

    In the store the field is encrypted with the key of its *subject*, the person it is about. `app.erase(subject)` destroys
    that key; from then on the field reads as erased, everywhere and for good.

    Args:
        subject: Whose it is: the name of another field of the message, such as "user_id", or a template over its fields,
            such as "user-{user_id}". Without one, the value itself names the subject, as for an email address
            whose user is not known yet.
        erased: What is read after an erasure. By default None where the field takes that, and "[erased]" otherwise.
    """

    __slots__ = ("_erased", "template")

    def __init__(self, subject: str = "", *, erased: Any = _UNSAID) -> None:
        self.template = subject if "{" in subject or not subject else f"{{{subject}}}"
        self._erased = erased

    @property
    def erased(self) -> tuple[Any, ...]:
        """The values to try for an erased field, in this order."""
        return (None, ERASED) if self._erased is _UNSAID else (self._erased,)

    def __repr__(self) -> str:
        return f"Personal({self.template!r})"


class PersonalField:
    """One personal field of a message class.

    Attributes:
        name: Its name.
        template: Template of the subject over the message's fields; empty: the field's own value.
        erased: What is read once the subject was erased, as it stands in JSON.
    """

    __slots__ = ("erased", "name", "template")

    def __init__(self, name: str, template: str, erased: Any) -> None:
        self.name = name
        self.template = template
        self.erased = erased

    @property
    def subject_fields(self) -> list[str]:
        """The fields that name the subject."""
        return [name for _, name, _, _ in string.Formatter().parse(self.template) if name] or [self.name]

    def subject_in(self, shape: Mapping[str, Any]) -> str | None:
        """Name the subject of this field in a decoded payload; None when the payload does not say."""
        values = {name: shape.get(name) for name in self.subject_fields}
        if any(isinstance(value, bool) or not isinstance(value, str | int) or value == "" for value in values.values()):
            return None
        return self.template.format(**values) if self.template else str(values[self.name])

    def subject_of(self, shape: Mapping[str, Any], type_name: str) -> str:
        """Name the subject of this field in a decoded payload.

        Raises:
            UnsafePayloadError: The payload does not say, and the field cannot be stored.
        """
        subject = self.subject_in(shape)
        if subject is None:
            named = " and ".join(map(repr, self.subject_fields))
            raise UnsafePayloadError(
                type_name,
                f"has a personal field {self.name!r} whose subject is not named: {named} must hold a text or number",
            )
        return subject


Fields = Mapping[str, PersonalField]
_NONE: Fields = MappingProxyType({})


@cache
def personal_fields(cls: type[BaseModel]) -> Fields:
    """Return the personal fields of a message class, by name; the same empty mapping for nearly all classes.

    Raises:
        PersonalFieldError: A mark that cannot work.
    """
    found: dict[str, PersonalField] = {}
    for name, field in cls.model_fields.items():
        marks = [one for one in field.metadata if isinstance(one, Personal)]
        if _marked_below(field.annotation):
            raise PersonalFieldError(
                f"{cls.__name__}.{name} holds a personal field inside.",
                hint="Mark the whole field of the message: `Annotated[TYPE, Personal(...)]`.",
            )
        if not marks:
            continue
        mark = marks[-1]
        one = PersonalField(name, mark.template, _erased_value(cls, name, mark))
        if getattr(cls, "__kind__", "") in ("command", "event"):  # the others are masked, and never stored
            _check_subject(cls, one)
        found[name] = one
    return MappingProxyType(found) if found else _NONE


def personal_values(message: BaseModel) -> Iterator[str]:
    """Yield the texts in a message's personal fields, at any depth, so that they can be cut out of an error's text."""
    for name, field in personal_fields(type(message)).items():
        try:
            value = message.model_dump(mode="json", include={name}).get(name)
        except (PydanticSerializationError, ValueError):
            continue
        if value != field.erased:
            yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _erased_value(cls: type[BaseModel], name: str, mark: Personal) -> Any:
    for value in mark.erased:
        if _takes(cls, name, value):
            return value
    tried = " nor ".join(map(repr, mark.erased))
    raise PersonalFieldError(
        f"{cls.__name__}.{name} is personal, and takes neither {tried} when its subject is erased."
        if len(mark.erased) > 1
        else f"{cls.__name__}.{name} is personal, and does not take {tried}, which it is to be when its subject is erased.",
        hint="Write `Personal(..., erased=VALUE)` with a value that the field takes.",
    )


def _check_subject(cls: type[BaseModel], field: PersonalField) -> None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(field.template)]
    except ValueError:
        names = []
    if field.template and not any(names):
        raise PersonalFieldError(
            f"{cls.__name__}.{field.name} is personal of {field.template!r}, which names no field.",
            hint='Write the name of a field, or a template such as "user-{user_id}".',
        )
    for name in field.subject_fields:
        if name not in cls.model_fields:
            raise PersonalFieldError(
                f"{cls.__name__}.{field.name} is personal of {name!r}, which is no field of {cls.__name__}.",
                hint="Name a field of the message, or none: then the value itself names the subject.",
            )
        if name != field.name and _takes(cls, name, None):
            raise PersonalFieldError(
                f"{cls.__name__}.{field.name} is personal of {name!r}, which may be None.",
                hint="Name a field that always has a value.",
            )


def _takes(cls: type[BaseModel], name: str, value: Any) -> bool:
    """Tell whether a field takes a value, by all of its validators. The other fields are missing, and say so."""
    try:
        cls.__pydantic_validator__.validate_json(to_json({name: value}))
    except ValidationError as error:
        return not any(problem["loc"][:1] == (name,) for problem in error.errors(include_url=False))
    except Exception:  # noqa: BLE001 (a validator of the whole model may stumble over the missing fields)
        return True
    return True


def _marked_below(annotation: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Tell whether a type has a personal part deeper inside: in a union, a list or another model."""
    if annotation in seen:
        return False
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.values()
        return any(
            any(isinstance(one, Personal) for one in field.metadata)
            or _marked_below(field.annotation, (*seen, annotation))
            for field in fields
        )
    for part in typing.get_args(annotation):
        if isinstance(part, Personal) or (not isinstance(part, str) and _marked_below(part, seen)):
            return True
    return False
