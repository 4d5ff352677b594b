"""The event of an account that was refused."""

from typing import Literal

from microlith import Event


class RegisterErrorRaised(Event):
    """No account was opened, and why."""

    email: str
    errors: list[Literal["email_taken"]]
