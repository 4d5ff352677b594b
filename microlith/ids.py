"""Ids: unique, hard to guess, and sorting by the time they were made.

An id is a UUIDv7 in text form, 36 characters. Its first characters are a clock, so neighbours
look alike: people are shown the last eight, the short id.

Order between events never comes from ids; it comes from positions.
"""

import re

from uuid_utils import uuid7

SHORT = 8
_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """Make a new id."""
    return str(uuid7())


def short_id(identifier: str) -> str:
    """Return the part of an id that people are shown and may type."""
    return identifier[-SHORT:]


def is_id(value: object) -> bool:
    """Tell whether a value has the form of an id."""
    return isinstance(value, str) and _FORM.fullmatch(value) is not None


def matches(identifier: str, typed: str) -> bool:
    """Tell whether what a person typed means this id: a prefix of it, or of its short id."""
    return identifier.startswith(typed) or short_id(identifier).startswith(typed)
