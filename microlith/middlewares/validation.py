"""Validation: looks at a message again before it is accepted, and asks your own checks.

A message is validated when it is built. Built with `model_construct`, or with a list in it that has
changed since, it may still be one that could be stored and never read again; and there are rules that
no field can tell.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from microlith.envelope import Envelope
from microlith.errors import PayloadError, text_of
from microlith.messages import Message
from microlith.middleware import Middleware
from microlith.payloads import scrub
from microlith.secrecy import hidden_values, reveal
from microlith.serialization import payload_error

Check = Callable[[Any], object]
"""Takes a message; raises ValueError, with the reason as its text, to refuse it. What it returns does not matter."""


class Validation(Middleware):
    """Refuses, with PayloadError, what could not be read back and what your checks refuse. Nothing is recorded then."""

    def __init__(
        self, checks: Mapping[type[Message], Check | Sequence[Check]] | None = None, *, again: bool = True
    ) -> None:
        """Choose the checks.

        Args:
            checks: One or several for a message type; those of a parent class hold for what derives from it.
                They are called where `dispatch` is, so they must be quick, and may run in any thread.
            again: Whether the fields are validated again, from the JSON that would be stored.
        """
        self._checks = {cls: (one,) if callable(one) else tuple(one) for cls, one in (checks or {}).items()}
        self._again = again

    def dispatching(self, envelope: Envelope[Any]) -> Envelope[Any]:
        """Validate a message and ask its checks."""
        message: Message = envelope.message
        cls = type(message)
        if self._again:
            _validate(message)
        problems = [
            {"field": "", "problem": scrub(text_of(error), hidden_values(message)), "nearest": None}
            for base in cls.__mro__
            for check in self._checks.get(base, ())
            if (error := _refusal(check, message)) is not None
        ]
        if problems:
            raise PayloadError(cls.__name__, problems)
        return envelope


def _validate(message: Message) -> None:
    cls = type(message)
    try:
        cls.__pydantic_validator__.validate_json(to_json(reveal(message, warnings=False)))
    except (ValidationError, PydanticSerializationError, ValueError, AttributeError, TypeError) as error:
        raise payload_error(cls, error) from None


def _refusal(check: Check, message: Message) -> ValueError | None:
    try:
        check(message)
    except ValueError as error:
        return error
    return None
