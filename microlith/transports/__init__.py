"""Transports: what carries messages between processes, and the place that makes one by its url.

"memory:" stands for none: messages stay in the process. "rabbitmq://" and "kafka://" name a broker.

Falls back to nothing: a broker that cannot be reached is an error.
"""

from microlith.errors import nearest
from microlith.transports.errors import (
    MissingDriverError,
    ParcelRefusedError,
    TopologyDriftError,
    TransportError,
    TransportUnavailableError,
    TransportUrlError,
)
from microlith.transports.protocol import (
    Address,
    Arrival,
    Change,
    Inbox,
    Parcel,
    Subscribing,
    Topic,
    Topology,
    Transport,
)

__all__ = [
    "Address",
    "Arrival",
    "Change",
    "Inbox",
    "MissingDriverError",
    "Parcel",
    "ParcelRefusedError",
    "Subscribing",
    "Topic",
    "Topology",
    "TopologyDriftError",
    "Transport",
    "TransportError",
    "TransportUnavailableError",
    "TransportUrlError",
    "make_transport",
]

IN_PROCESS = "memory:"
SCHEMES = ("memory", "rabbitmq", "rabbitmqs", "kafka", "kafkas")


def make_transport(url: str) -> Transport:
    """Make the transport that a url means; `await transport.open(topology)` then connects.

    Raises:
        TransportUrlError: The url means nothing, or is "memory:", which needs no transport.
        MissingDriverError: Its library is not installed.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in SCHEMES:
        close = nearest(scheme, SCHEMES)
        raise TransportUrlError(
            url, f"the scheme {scheme!r} is not known", hint=f"Did you mean {close + ':'!r}?" if close else ""
        )
    if scheme in ("rabbitmq", "rabbitmqs"):
        return _rabbitmq(url)
    if scheme in ("kafka", "kafkas"):
        return _kafka(url)
    raise TransportUrlError(url, "it carries nothing between processes")


def _rabbitmq(url: str) -> Transport:
    try:
        from microlith.transports.rabbitmq import RabbitMQTransport  # noqa: PLC0415 (a driver: loaded when it is chosen)
    except ModuleNotFoundError as error:
        raise MissingDriverError("rabbitmq") from error
    return RabbitMQTransport(url)


def _kafka(url: str) -> Transport:
    try:
        from microlith.transports.kafka import KafkaTransport  # noqa: PLC0415 (a driver: loaded when it is chosen)
    except ModuleNotFoundError as error:
        raise MissingDriverError("kafka") from error
    return KafkaTransport(url)
