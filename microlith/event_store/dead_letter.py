"""A dead letter: a message that was given up, and why.

It stays until somebody has it tried again with success, or drops it.

Holds no envelope; `EventStore.dead_message` finds it.
"""


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
    """

    __slots__ = (
        "attempts",
        "component",
        "correlation_id",
        "data",
        "error",
        "handler",
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
        )
