"""What sells best?"""

from pydantic import BaseModel

from microlith import Query, Response


class Sold(BaseModel):
    """How much of one book was ordered."""

    isbn: str
    copies: int
    cents: int


class BestsellersResponse(Response):
    """The books that were ordered most, the best first."""

    books: list[Sold]


class BestsellersRequest(Query[BestsellersResponse]):
    """What sells best?"""

    most: int = 10
