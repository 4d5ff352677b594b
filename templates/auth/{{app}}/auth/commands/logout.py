"""The command that ends a session."""

from microlith import Command


class LogoutCommand(Command):
    """Log out. Answered by UserLoggedOutEvent or LogoutErrorRaised."""

    sid: str
