"""The event of an account that was opened."""

from microlith import Event
from pydantic import SecretStr


class UserRegisteredEvent(Event):
    """An account was opened. The password is a hash."""

    email: str
    password: SecretStr
    role: str
    user_id: str
