"""The event of a session that has started."""

from microlith import Event


class UserLoggedInEvent(Event):
    """A session has started."""

    sid: str
    user_id: str
