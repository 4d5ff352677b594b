"""What an author of a process manager writes: a class with state, and methods that take events.

Decides nothing about when a method is called; see `running`.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar, Unpack, overload

from pydantic import BaseModel, ConfigDict, PrivateAttr

from microlith.errors import WiringError
from microlith.messages import Event

F = TypeVar("F", bound=Callable[..., Any])

STARTS = "__microlith_starts__"
CONTINUES = "__microlith_continues__"


class ProcessError(WiringError):
    """A process that is declared in a way that cannot work."""


class ProcessStepped(Event):
    """One step of a process: the event it took, and its state afterwards. Stands in the process's own stream.

    Attributes:
        key: Which process of its kind.
        took: Type of the event it took; the event is this one's cause.
        ended: Whether it takes no further event.
        scheduled: Whether it has asked for messages later on, which are cancelled when it ends.
        state: Its fields after the step.
    """

    key: str
    took: str
    ended: bool = False
    scheduled: bool = False
    state: BaseModel


@overload
def starts(method: F) -> F: ...
@overload
def starts(*, key: str) -> Callable[[F], F]: ...
def starts(method: F | None = None, *, key: str = "") -> Any:
    """Mark a method that takes an event which starts a process; one that runs already takes it, too.

    Args:
        method: The method. It returns what is to be sent: one message, several, or None.
        key: As in `class ...(Process, key=...)`, for an event whose fields are called differently.
    """
    return _marked(STARTS, method, key)


@overload
def continues(method: F) -> F: ...
@overload
def continues(*, key: str) -> Callable[[F], F]: ...
def continues(method: F | None = None, *, key: str = "") -> Any:
    """Mark a method that takes an event of a process that runs; without one, the event is ignored.

    Args:
        method: The method. It returns what is to be sent: one message, several, or None.
        key: As in `class ...(Process, key=...)`, for an event whose fields are called differently.
    """
    return _marked(CONTINUES, method, key)


def _marked(mark: str, method: F | None, key: str) -> Any:
    def declare(function: F) -> F:
        setattr(function, mark, key)
        return function

    return declare if method is None else declare(method)


class Process(BaseModel):
    """A process that events start and continue, and that says which messages come next.

    Fields hold its state and need defaults. A method decides at once: it reads the event and the
    state, changes the state and returns messages; what takes time is for the handlers of those.

    `class Fulfilment(Process, key="order_id"): ...`
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    __key__: ClassVar[str] = ""
    __version__: ClassVar[int] = 1
    __formerly__: ClassVar[tuple[str, ...]] = ()

    _ended: bool = PrivateAttr(default=False)

    def __init_subclass__(
        cls, *, key: str = "", version: int = 1, formerly: Sequence[str] = (), **options: Unpack[ConfigDict]
    ) -> None:
        """Take the class keywords.

        Args:
            key: What tells the processes of this kind apart: a field that its events share, or a template over
                several, such as "{region}-{order_id}". By default the correlation id.
            version: Version of the state's shape, from 1. Raise it with every change that old state does not fit,
                and declare how to read the old shape with `@component.upcasts`.
            formerly: Earlier class names, under which some of it is stored.
        """
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, key: str = "", version: int = 1, formerly: Sequence[str] = (), **_: Any
    ) -> None:
        cls.__key__ = key or cls.__key__
        cls.__version__ = version
        cls.__formerly__ = tuple(formerly)

    def end(self) -> None:
        """End the process: events that come later are ignored. What the method returns is still sent."""
        self._ended = True
