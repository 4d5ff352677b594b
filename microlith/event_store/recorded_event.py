"""One event as it stands in the log, whatever store it came from."""

from collections.abc import Mapping
from typing import Protocol

from microlith.envelope import Envelope
from microlith.messages import Message


class RecordedEvent(Protocol):
    """One event as it stands in the log. The message is decoded when first asked for."""

    @property
    def position(self) -> int:
        """Global position: place in the whole log, from 0, without gaps, in commit order."""
        ...

    @property
    def stream(self) -> str:
        """Stream it stands in."""
        ...

    @property
    def stream_position(self) -> int:
        """Place in the stream, from 0, without gaps."""
        ...

    @property
    def type(self) -> str:
        """Class name of the message."""
        ...

    @property
    def component(self) -> str:
        """Component that declares it."""
        ...

    @property
    def version(self) -> int:
        """Version of the shape it was written in."""
        ...

    @property
    def message_id(self) -> str:
        """Identity of the message."""
        ...

    @property
    def correlation_id(self) -> str:
        """Shared by everything that one first message started."""
        ...

    @property
    def causation_id(self) -> str | None:
        """Message id of the direct parent; None for a first message."""
        ...

    @property
    def time(self) -> float:
        """When the message was made, seconds since the epoch; stores keep it to the microsecond."""
        ...

    @property
    def microseconds(self) -> int:
        """The same in whole microseconds: exact at all times, which a float is until the year 2106."""
        ...

    @property
    def depth(self) -> int:
        """Messages between it and the first one."""
        ...

    @property
    def headers(self) -> Mapping[str, str] | None:
        """Free text pairs; None for most."""
        ...

    @property
    def data(self) -> bytes:
        """The payload as JSON: secrets in clear, personal fields sealed."""
        ...

    @property
    def message(self) -> Message:
        """The typed message; raises UnknownTypeError with the position when its type is gone."""
        ...

    @property
    def envelope(self) -> Envelope[Message]:
        """The message in its envelope."""
        ...
