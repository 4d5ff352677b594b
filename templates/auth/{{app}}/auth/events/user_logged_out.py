"""The event of a session that has ended."""

from microlith import Event


class UserLoggedOutEvent(Event):
    """A session has ended."""

    sid: str
    user_id: str
