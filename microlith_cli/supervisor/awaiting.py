"""What a dispatch waits for: message types, each with a condition where one was given.

    UserLoggedInEvent where sid=1

The condition is written in the filter language; a name that is a field of the message stands for `data.NAME`.
It sees what a person would see: secrets are masked.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from microlith import Envelope, Message, Microlith
from microlith_cli.errors import UsageError, nearest
from microlith_cli.filtering import compile_filter
from microlith_cli.filtering.terms import KEYS

_AT_MOST = 100
_WHERE = re.compile(r"\s+where\s+", re.IGNORECASE)
_NAME = re.compile(
    r"""(?P<quoted>"[^"]*"|'[^']*')|(?P<before>(?:^|\s)(?:-|not:)*)(?P<name>[A-Za-z_]\w*)(?=[^\s"':=<>]*[:=<>])"""
)
"""A name before a comparison, outside quotes."""
_KEYS = tuple(key.partition(".")[0] for key in KEYS)
"""What a term of the filter language may begin with."""


Condition = Callable[[Envelope[Any]], bool]


class Awaited:
    """The messages that one field of a request names.

    Attributes:
        classes: Their classes, each once.
        conditions: For the classes that have one.

    Raises:
        UsageError: The field is no list of texts, or a condition cannot be meant.
        UnknownTypeError: No component declares a type.
    """

    def __init__(self, app: Microlith, request: Mapping[str, Any], field: str) -> None:
        named = request.get(field) or []
        if not isinstance(named, list) or len(named) > _AT_MOST or not all(isinstance(name, str) for name in named):
            raise UsageError(f"`{field}` is a list of up to {_AT_MOST} type names.")
        found: dict[type[Message], Condition | None] = {}
        for text in named:
            name, *condition = _WHERE.split(text.strip(), maxsplit=1)
            cls = app.types.find(name).cls
            if cls in found and (condition or found[cls] is not None):
                raise UsageError(
                    f"{name} is waited for twice, with a condition.", hint="Put both conditions behind one `where`."
                )
            found[cls] = _condition(app, cls, condition[0]) if condition else None
        self.classes = tuple(found)
        self.conditions = {cls: condition for cls, condition in found.items() if condition is not None} or None


def _condition(app: Microlith, cls: type[Message], text: str) -> Condition:
    fields = {*cls.model_fields, *(field.alias for field in cls.model_fields.values() if field.alias)}

    def spelled(match: re.Match[str]) -> str:
        if match["quoted"]:
            return match["quoted"]
        name = match["name"]
        if name not in fields and name.lower() not in _KEYS:
            close = nearest(name, [*sorted(fields), *_KEYS])
            hint = f"Did you mean {close!r}?" if close else f"Its fields are {', '.join(sorted(fields)) or 'none'}."
            raise UsageError(f"{cls.__name__} has no field {name!r} to wait for.", hint=hint)
        return f"{match['before']}{'data.' if name in fields else ''}{name}"

    passes = compile_filter(_NAME.sub(spelled, text))
    return lambda envelope: passes(app.cloud_event(envelope))
