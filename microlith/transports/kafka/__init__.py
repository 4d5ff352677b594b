"""The transport over Kafka, with confluent-kafka.

What is sent goes `transport` → `binding` → `sending`; what comes goes `group_reader` or `inbox_reader` → `reading` →
`intake`. `planning` makes topics, `settings` reads the url.
"""

from microlith.transports.kafka.transport import KafkaTransport

__all__ = ["KafkaTransport"]
