"""A dead letter: a message that was given up, and why.

It stays until somebody has it tried again with success, or drops it.

Holds no envelope; `EventStore.dead_message` finds it.
"""

from typing import NamedTuple


class DeadLetter:
    """A message that its handler could not handle.

    Attributes:
        sequence: Order of failing, growing.
        handler: Full name of the handler that failed.
        position: Global position of an event; None for a command.
        message_id: The message that failed.
        correlation_id: Its correlation.
        component: Component that declares the message.
        type: Class name of the message.
        data: The payload as JSON: secrets in clear, personal fields sealed.
        error: Text of the last failure.
        attempts: How often it was tried in all.
        time: When it was given up, seconds since the epoch.
        key: What tells its key from the others of its handler; None: it has none.
        behind: Parked: sequence of the letter of the same key that is before it, which was never tried since. None: it
            was tried, and failed.
    """

    __slots__ = (
        "attempts",
        "behind",
        "component",
        "correlation_id",
        "data",
        "error",
        "handler",
        "key",
        "message_id",
        "position",
        "sequence",
        "time",
        "type",
    )

    def __init__(
        self,
        sequence: int,
        handler: str,
        position: int | None,
        message_id: str,
        correlation_id: str,
        component: str,
        type: str,  # noqa: A002 (the word every other record uses)
        data: bytes,
        error: str,
        attempts: int,
        time: float,
        key: str | None = None,
        behind: int | None = None,
    ) -> None:
        self.sequence = sequence
        self.handler = handler
        self.position = position
        self.message_id = message_id
        self.correlation_id = correlation_id
        self.component = component
        self.type = type
        self.data = data
        self.error = error
        self.attempts = attempts
        self.time = time
        self.key = key
        self.behind = behind

    def failed_again(self, error: str, attempts: int, time: float) -> "DeadLetter":
        """Return what the letter is after it was tried again in vain."""
        return DeadLetter(
            self.sequence,
            self.handler,
            self.position,
            self.message_id,
            self.correlation_id,
            self.component,
            self.type,
            self.data,
            error,
            attempts,
            time,
            self.key,
        )

    def parked_behind(self, sequence: int) -> "DeadLetter":
        """Return what the letter is when it is parked behind another one."""
        parked = self.failed_again(parked_behind(sequence), 0, self.time)
        parked.behind = sequence
        return parked


class KeyedLetters(NamedTuple):
    """The dead letters of one key of one handler.

    Attributes:
        handler: Full name of the handler.
        key: As in the letters.
        letters: How many there are.
        first: Sequence of the first.
        waits: Whether the first is parked: the one before it is gone, and it is its turn.
    """

    handler: str
    key: str
    letters: int
    first: int
    waits: bool


def parked_behind(sequence: int) -> str:
    """Word what a parked letter says instead of an error."""
    return f"parked behind {sequence}"
