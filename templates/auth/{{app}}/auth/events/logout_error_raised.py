"""The event of a logout that was refused."""

from typing import Literal

from microlith import Event


class LogoutErrorRaised(Event):
    """No session was ended, and why."""

    sid: str
    errors: list[Literal["no_session_found"]]
