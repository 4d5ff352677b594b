"""Reading your own writes: what can be waited for beside a message, and the answer when it may be stale."""

from collections.abc import Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from microlith.errors import Behind
from microlith.messages import Message

M_co = TypeVar("M_co", bound=Message, covariant=True)


class NamedProjection(Protocol):
    """A projection, as far as it is waited for."""

    @property
    def name(self) -> str:
        """Full name."""
        ...

    @property
    def inline(self) -> bool:
        """Whether it changes in the commit of the events."""
        ...


class KeyedRow(Protocol):
    """A read model, as far as it is waited for."""

    __key__: ClassVar[str]


ReadSide = str | NamedProjection | type[KeyedRow]
"""A projection, its name, or a read model: that stands for the projections which keep it."""


class Answer(Generic[M_co]):
    """What `execute(..., allow_stale=True)` returns.

    Attributes:
        message: The message that was waited for.
        behind: The projections that have not caught up with it; empty when all have.
    """

    __slots__ = ("behind", "message")

    def __init__(self, message: M_co, behind: Sequence[Behind] = ()) -> None:
        self.message = message
        self.behind = tuple(behind)

    @property
    def stale(self) -> bool:
        """Whether what is read now may lack what the message tells."""
        return bool(self.behind)

    def __repr__(self) -> str:
        return f"Answer({self.message!r}, behind={self.behind!r})"
