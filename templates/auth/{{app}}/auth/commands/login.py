"""The command that starts a session."""

from secrets import token_hex

from microlith import Command
from pydantic import Field, SecretStr


class LoginCommand(Command):
    """Log in. Answered by UserLoggedInEvent or LoginErrorRaised."""

    email: str
    password: SecretStr
    sid: str = Field(default_factory=lambda: token_hex(16))
    """The session to start; a fresh one unless it is given."""
