"""Payloads with personal fields: sealed before they are stored, opened when they are read.

The sealed fields stand apart, below one key that no field can have, so that nothing a sender writes is taken for
one: `{"user_id":"u1","$personal":{"email":"AQ..."}}`. Beside what is not the usual "[erased]", the value for an
erased field stands too, for code that knows the field by another name.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from microlith.errors import PayloadError, UnsafePayloadError
from microlith.privacy.keys import KeyRing, KeysClosedError
from microlith.privacy.marking import ERASED, MARK, SEALED, Fields
from microlith.privacy.sealing import key_id_of


def seal_payload(raw: bytes, fields: Fields, keys: KeyRing | None, message_id: str, type_name: str) -> bytes:
    """Seal the personal fields of an encoded message. None is left as it is.

    Raises:
        UnsafePayloadError: A field does not say whose it is, or the message cannot be told apart from a sealed one.
        KeysClosedError: There are no keys.
    """
    if keys is None or not message_id:
        raise KeysClosedError(type_name)
    shape: dict[str, Any] = from_json(raw)
    if SEALED in shape:
        raise UnsafePayloadError(type_name, f"has a field {SEALED!r}, which sealed fields stand in")
    subjects = {
        name: field.subject_of(shape, type_name) for name, field in fields.items() if shape.get(name) is not None
    }
    if not subjects:
        return raw
    sealed: dict[str, str | list[Any]] = {}
    for name, subject in subjects.items():
        text = keys.key_for(subject).seal(shape.pop(name), message_id, name)
        erased = fields[name].erased
        sealed[name] = text if erased == ERASED else [text, erased]
    shape[SEALED] = sealed
    return to_json(shape)


def open_payload(
    data: bytes, fields: Fields, keys: KeyRing | None, message_id: str, type_name: str, where: str = ""
) -> bytes:
    """Open the sealed fields of a stored payload; those whose key was destroyed read as erased.

    Raises:
        PayloadError: A field cannot be opened.
        MissingKeyError: A key is missing, and was not destroyed.
        KeysClosedError: There are no keys.
    """
    shape = from_json(data)
    sealed = _sealed_in(shape)
    if not sealed:
        return data
    if keys is None or not message_id:
        raise KeysClosedError(type_name)
    del shape[SEALED]
    for name, (text, erased) in sealed.items():
        try:
            key = keys.key_of(key_id_of(text), where)
            if key is not None:
                shape[name] = key.open(text, message_id, name)
                continue
        except ValueError as error:
            problem = f"is sealed and cannot be opened: {error}"
            raise PayloadError(type_name, [{"field": name, "problem": problem, "nearest": None}]) from None
        shape[name] = fields[name].erased if name in fields else erased
    return to_json(shape)


def sealed_ids(data: bytes) -> Mapping[str, bytes]:
    """Return the personal fields that are sealed in a stored payload, each with the id of its key."""
    if MARK not in data:
        return {}
    found = {}
    for name, (text, _) in _sealed_in(from_json(data)).items():
        try:
            found[name] = key_id_of(text)
        except ValueError:
            continue
    return found


def _sealed_in(shape: Any) -> dict[str, tuple[str, Any]]:
    """List what is sealed: field, text, and the value for when it is erased."""
    sealed = shape.get(SEALED) if isinstance(shape, dict) else None
    found: dict[str, tuple[str, Any]] = {}
    for name, value in sealed.items() if isinstance(sealed, dict) else ():
        if isinstance(value, str):
            found[name] = value, ERASED
        elif isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            found[name] = value[0], value[1]
    return found
