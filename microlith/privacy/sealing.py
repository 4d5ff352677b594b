"""Sealing: a value and a key become a text that says nothing, and back.

AES-256 in GCM with a random nonce. What is sealed is bound to the message id and the field it stands in, so that it
opens nowhere else.
The text is base64 of: format (1 byte), key id (16), nonce (12), ciphertext with tag.

The one place that imports the library `cryptography`; imported when a message has personal fields.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic_core import from_json, to_json

KEY_BYTES = 32
ID_BYTES = 16
_NONCE_BYTES = 12
_FORMAT = b"\x01"
_HEAD = 1 + ID_BYTES


class Key:
    """The key of one subject.

    Attributes:
        id: Random; says nothing about the subject.
        secret: The key itself.
    """

    __slots__ = ("_cipher", "id", "secret")

    def __init__(self, id: bytes, secret: bytes) -> None:  # noqa: A002 (what it is)
        self.id = id
        self.secret = secret
        self._cipher = AESGCM(secret)

    @classmethod
    def new(cls) -> "Key":
        """Make a key that nobody has had before."""
        return cls(os.urandom(ID_BYTES), os.urandom(KEY_BYTES))

    def seal(self, value: Any, message_id: str, field: str) -> str:
        """Seal a value, as JSON has it, for one field of one message."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, to_json(value), _place(message_id, field))
        return urlsafe_b64encode(_FORMAT + self.id + nonce + sealed).decode()

    def open(self, sealed: str, message_id: str, field: str) -> Any:
        """Open what was sealed for this field of this message.

        Raises:
            ValueError: It was not, or it is damaged.
        """
        raw = urlsafe_b64decode(sealed)
        nonce, rest = raw[_HEAD : _HEAD + _NONCE_BYTES], raw[_HEAD + _NONCE_BYTES :]
        try:
            return from_json(self._cipher.decrypt(nonce, rest, _place(message_id, field)))
        except InvalidTag:
            raise ValueError("it is damaged, or belongs to another message") from None


def key_id_of(sealed: str) -> bytes:
    """Return the id of the key that a text was sealed with.

    Raises:
        ValueError: It is no such text.
    """
    raw = urlsafe_b64decode(sealed)
    if raw[:1] != _FORMAT or len(raw) < _HEAD + _NONCE_BYTES:
        raise ValueError("it is damaged, or was sealed by a newer version of microlith")
    return raw[1:_HEAD]


def _place(message_id: str, field: str) -> bytes:
    return f"microlith personal field\n{message_id}\n{field}".encode()
