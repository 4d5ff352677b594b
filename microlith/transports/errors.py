"""What can go wrong between processes: one class per mistake, see `microlith.errors`."""

from collections.abc import Sequence

from microlith.errors import MicrolithError, nearest
from microlith.urls import masked


class TransportError(MicrolithError):
    """A transport refused or failed."""


class TransportUrlError(TransportError):
    """The url of a transport that means nothing."""

    def __init__(self, url: str, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"{masked(repr(url))} is not the url of a transport: {problem}.",
            hint=hint or 'Write "memory:", "rabbitmq://user@host/vhost" or "kafka://host:9092".',
        )


class UnknownOptionError(TransportUrlError):
    """The url of a transport has an option that there is not."""

    def __init__(self, url: str, name: str, known: Sequence[str]) -> None:
        close = nearest(name, known)
        super().__init__(
            url,
            f"the option {name!r} is not known",
            hint=f"Did you mean {close!r}?" if close else f"Known are {', '.join(known)}.",
        )


class MissingDriverError(TransportError):
    """The library of a transport is not installed."""

    def __init__(self, scheme: str) -> None:
        super().__init__(
            f"The library that speaks to {scheme} is not installed.",
            hint=f'Install it: `pip install "microlith[{scheme}]"`.',
        )


_MENDS = {
    "virtual host": "Correct the path of its url under [tool.microlith.buses], or make the virtual host.",
    "certificate": "Say in its url who has signed its certificate: `?cafile=authority.pem`.",
    "authentication": "Correct the user and the password in its url under [tool.microlith.buses].",
    "ACCESS_REFUSED": "Correct the user and the password in its url under [tool.microlith.buses].",
    "WRONG_VERSION": "It does not speak TLS at this port: correct the port in its url, or its scheme.",
}
"""What to do about a reason that has such a word, in whatever words of its library."""


class TransportUnavailableError(TransportError):
    """The broker cannot be reached, or went away. What was under way may have been taken: sending it again is safe.

    Attributes:
        broker: Where it was looked for; without a password.
    """

    def __init__(self, broker: str, reason: str) -> None:
        super().__init__(
            f"{broker} cannot be reached: {reason}",
            hint=next(
                (hint for word, hint in _MENDS.items() if word.lower() in reason.lower()),
                "Start the broker, or correct its url under [tool.microlith.buses].",
            ),
        )
        self.broker = broker


class ParcelRefusedError(TransportError):
    """The broker will never take one of some parcels; those before it were taken.

    Attributes:
        index: Which one, counted from 0.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"The broker refused a message: {reason}", hint="It is not sent again by itself.")
        self.index = index


class TopologyDriftError(TransportError):
    """What is there at the broker differs from what the application needs.

    Attributes:
        differences: Each in a sentence.
    """

    def __init__(self, broker: str, differences: Sequence[str]) -> None:
        super().__init__(
            f"{broker} differs from what the application needs: {'; '.join(differences)}.",
            hint="See `microlith broker setup --dry-run`; delete or rename what differs, then start again.",
        )
        self.differences = tuple(differences)
