"""How groups share partitions: by the protocol that the broker has."""

from collections.abc import Mapping
from logging import getLogger

from confluent_kafka import KafkaError

from microlith.transports.kafka.codes import NO_SUCH_PROTOCOL

_LOG = getLogger(__name__)


class GroupProtocol:
    """Which protocol the groups of one transport speak: the one the url names, or the newer one until a broker has not got it.

    Attributes:
        name: "consumer" (KIP-848) or "classic".
    """

    def __init__(self, chosen: str | None) -> None:
        self.name = chosen or "consumer"
        self._chosen = chosen is not None

    def settings(self) -> Mapping[str, str]:
        """Tell what a consumer is told."""
        if self.name == "consumer":
            return {"group.protocol": "consumer"}
        return {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"}

    def adapt(self, error: KafkaError) -> bool:
        """Take the older protocol if the broker lacks the newer one; tell whether that is so."""
        if self._chosen or not any(cause in error.str() for cause in NO_SUCH_PROTOCOL):
            return False
        if self.name == "classic":  # another reader was quicker
            return True
        self.name = "classic"
        _LOG.warning("The broker does not know the newer group protocol (KIP-848); the classic one is used: %s", error)
        return True
