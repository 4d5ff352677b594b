"""The query for a user's address, and its response."""

from microlith import Query, Response


class CurrentUserResponse(Response):
    """The user's address; None when there is no such user."""

    email: str | None


class CurrentUserRequest(Query[CurrentUserResponse]):
    """Ask for a user's address. Users are counted from 1."""

    id: int
