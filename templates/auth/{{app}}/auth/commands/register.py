"""The command that opens an account."""

from microlith import Command
from pydantic import SecretStr


class RegisterCommand(Command):
    """Open an account. Answered by UserRegisteredEvent or RegisterErrorRaised."""

    email: str
    password: SecretStr
    role: str = "user"
