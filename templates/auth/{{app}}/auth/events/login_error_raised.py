"""The event of a login that was refused."""

from typing import Literal

from microlith import Event


class LoginErrorRaised(Event):
    """No session was started, and why."""

    email: str
    sid: str
    errors: list[Literal["no_user_found", "invalid_password"]]
