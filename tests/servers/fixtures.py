"""The servers as fixtures: one of each kind a session, started when a test asks for it first.

Each test gets a corner of its own, by a fixture that is cheap: a virtual host, a database, a prefix for topics.
"""

from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar
from uuid import uuid4

import pytest

from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.server import Server, ServerMissingError

S = TypeVar("S", bound=Server)


@pytest.fixture(scope="session")
def rabbitmq(unavailable: Callable[[str], NoReturn]) -> Iterator[RabbitMQ]:
    """A RabbitMQ server; a test that kills it starts it again."""
    yield from _running(RabbitMQ, unavailable)


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A virtual host of one's own, such as `rabbitmq://guest:guest@127.0.0.1:21672/test-…`."""
    rabbitmq.start()  # an earlier test may have failed before it did
    vhost = _unique()
    yield rabbitmq.create_vhost(vhost)
    rabbitmq.start()
    rabbitmq.delete_vhost(vhost)


@pytest.fixture(scope="session")
def postgres(unavailable: Callable[[str], NoReturn]) -> Iterator[Postgres]:
    """A PostgreSQL server; a test that kills it starts it again."""
    yield from _running(Postgres, unavailable)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database of one's own, such as `postgresql://postgres:microlith@127.0.0.1:25432/test-…`."""
    postgres.start()
    database = _unique()
    yield postgres.create_database(database)
    postgres.start()
    postgres.drop_database(database)


@pytest.fixture(scope="session")
def kafka(unavailable: Callable[[str], NoReturn]) -> Iterator[Kafka]:
    """A Kafka broker; a test that kills it starts it again."""
    yield from _running(Kafka, unavailable)


@pytest.fixture
def kafka_prefix(kafka: Kafka) -> Iterator[str]:
    """What the names of a test's topics and groups begin with, such as `test-….`; they are deleted after it."""
    kafka.start()
    prefix = f"{_unique()}."
    yield prefix
    kafka.start()
    kafka.delete(prefix)


@pytest.fixture
def postgres_schema(postgres: Postgres) -> Iterator[str]:
    """A store's url with a schema of one's own, which is not there yet; quicker than a database of one's own."""
    postgres.start()
    schema = _unique().replace("-", "_")
    yield f"{postgres.url}?schema={schema}"
    postgres.start()
    postgres.drop_schemas(schema, f"{schema}_keys")


def _running(kind: Callable[[], S], unavailable: Callable[[str], NoReturn]) -> Iterator[S]:
    try:
        server = kind()
    except ServerMissingError as missing:
        unavailable(str(missing))
    with server:
        yield server


def _unique() -> str:
    return f"test-{uuid4().hex[:12]}"
