"""Messages: the four kinds of things that travel on the buses.

A message is an immutable pydantic model. Its type name is its class name; where its class is
imported from does not matter to anything stored.

Knows nothing of handlers or buses.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

from microlith.context import correlated
from microlith.envelope import Envelope

Kind = Literal["command", "query", "response", "event"]


class Message(BaseModel):
    """What commands, queries, responses and events share. Not sent itself.

    Unknown fields are refused. Fields of type SecretStr are stored as they are and masked wherever they are shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="strings")

    __kind__: ClassVar[Kind]
    __version__: ClassVar[int] = 1
    __formerly__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls, *, version: int | None = None, formerly: Sequence[str] = (), **options: Unpack[ConfigDict]
    ) -> None:
        """Take the class keywords of a message whose shape or name has changed since some of it was stored.

        Args:
            version: Version of the shape, from 1. Raise it with every change that old data does not fit, and
                declare how to read the old shape with `@component.upcasts`.
            formerly: Earlier class names, under which some of it is stored.
        """
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, *, version: int | None = None, formerly: Sequence[str] = (), **_: Any) -> None:
        cls.__version__ = version if version is not None else 1
        cls.__formerly__ = tuple(formerly)

    @classmethod
    def correlated(cls, **fields: Any) -> Envelope[Self]:
        """Build the message and wrap it in an envelope, as `correlated(Type(...))` does."""
        return correlated(cls(**fields))


class Command(Message):
    """Asks for a change. Exactly one handler takes it."""

    __kind__: ClassVar[Kind] = "command"


class Event(Message):
    """Says what has happened, in the past tense. Any number of handlers take it."""

    __kind__: ClassVar[Kind] = "event"


class Response(Message):
    """Answers a query. Never stored."""

    __kind__: ClassVar[Kind] = "response"


R_co = TypeVar("R_co", bound=Response, covariant=True)


class Query(Message, Generic[R_co]):
    """Asks for an answer of type R and changes nothing. Exactly one handler takes it; never stored."""

    __kind__: ClassVar[Kind] = "query"


def response_type(query: type[Query[Any]]) -> type[Response] | None:
    """Return R of a class that derives from Query[R], or None when it does not say."""
    for cls in query.__mro__:
        arguments = getattr(cls, "__pydantic_generic_metadata__", {}).get("args", ())
        if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Response):
            return arguments[0]
    return None


def stored_names(cls: type[Message]) -> tuple[str, ...]:
    """Return the names that messages of a class may be stored under: its own, and those it had before."""
    return (cls.__name__, *cls.__formerly__)


def is_message(cls: object) -> bool:
    """Tell whether a thing is a concrete message class, not one of the kinds themselves."""
    return (
        isinstance(cls, type)
        and issubclass(cls, Message)
        and cls not in (Message, Command, Event, Response, Query)
        and not (cls.__name__.startswith("Query[") or cls.__pydantic_generic_metadata__["parameters"])
    )
