"""Retrying: how handlers try again that have no policy of their own.

A handler's own policy (`handles(..., retry=Retry(...))`) comes first.
"""

from typing import Any

from microlith.errors import WiringError
from microlith.messages import Command, Event, Message
from microlith.middleware import Middleware, RetryPolicy


class Retrying(Middleware):
    """Gives a policy to the handlers of some message types, or of all commands and events.

    Queries are not tried again unless they are named: whoever asked waits.
    """

    def __init__(self, policy: RetryPolicy, *types: type[Message]) -> None:
        """Set the policy.

        Args:
            policy: Such as `Retry(5, first=0.1)`.
            types: Messages it holds for, and what derives from them; by default all commands and events.

        Raises:
            WiringError: One of the types is no message.
        """
        strange = next((one for one in types if not _is_message_type(one)), None)
        if strange is not None:
            raise WiringError(f"{strange!r} is no message type.", hint="Name classes such as Command or LoginCommand.")
        self._policy = policy
        self._types = types or (Command, Event)

    def retrying(self, message: type[Any]) -> RetryPolicy | None:
        """Give the policy, if the type is one of those it holds for."""
        return self._policy if issubclass(message, self._types) else None


def _is_message_type(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, Message)
