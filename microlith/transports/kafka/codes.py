"""Errors of librdkafka by name. Its own codes, other than a broker's, begin with a line that says nothing of being private."""

from confluent_kafka import KafkaError

ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 (see above)
AUTHENTICATION = KafkaError._AUTHENTICATION  # noqa: SLF001 (see above)
FATAL = KafkaError._FATAL  # noqa: SLF001 (see above)
SSL = KafkaError._SSL  # noqa: SLF001 (see above)
TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001 (see above)
TRANSPORT = KafkaError._TRANSPORT  # noqa: SLF001 (see above)
UNSUPPORTED_FEATURE = KafkaError._UNSUPPORTED_FEATURE  # noqa: SLF001 (see above)

CANNOT_CONNECT = frozenset({ALL_BROKERS_DOWN, AUTHENTICATION, SSL})
NO_SUCH_PROTOCOL = (KafkaError(KafkaError.UNSUPPORTED_VERSION).str(), KafkaError(UNSUPPORTED_FEATURE).str())
"""In words: what is fatal to a consumer has one code, and its cause in the text."""
NOT_READY = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""A broker that says this will soon say something else."""
SILENT = frozenset({TIMED_OUT, TRANSPORT})
"""No answer, for whatever reason."""
REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
    }
)
"""A broker that says this will say it again."""
