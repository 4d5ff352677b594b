"""Components in processes of their own, over real brokers: what holds over the one in memory holds over them.

The tests are those of tests/unit/transports/test_processes.py, but for those that need to reach into a broker.
"""

from contextlib import AsyncExitStack

import pytest

from tests.unit.transports.agency import agency
from tests.unit.transports.test_processes import (
    test_answer_that_came_before_the_wait_is_found,
    test_command_is_handled_where_its_component_runs,
    test_correlation_and_causation_are_kept_on_the_way,
    test_event_is_recorded_by_each_process_that_takes_it_and_folded_there,
    test_failure_elsewhere_ends_the_wait_at_once,
    test_gateway_sends_asks_and_waits_and_handles_nothing,
    test_process_that_runs_everything_sends_to_itself_over_the_broker,
    test_query_is_answered_by_another_process,
    test_timeout_of_a_wait_across_processes_says_what_is_missing,
    test_wait_finds_an_event_of_the_third_process,
    test_what_is_sent_while_nobody_is_there_waits_for_its_component,
)

__all__ = [
    "test_answer_that_came_before_the_wait_is_found",
    "test_command_is_handled_where_its_component_runs",
    "test_correlation_and_causation_are_kept_on_the_way",
    "test_event_is_recorded_by_each_process_that_takes_it_and_folded_there",
    "test_failure_elsewhere_ends_the_wait_at_once",
    "test_gateway_sends_asks_and_waits_and_handles_nothing",
    "test_process_that_runs_everything_sends_to_itself_over_the_broker",
    "test_query_is_answered_by_another_process",
    "test_timeout_of_a_wait_across_processes_says_what_is_missing",
    "test_wait_finds_an_event_of_the_third_process",
    "test_what_is_sent_while_nobody_is_there_waits_for_its_component",
]


BROKERS = ("rabbitmq", "kafka")
STORES = ("memory", "sqlite", "postgres")


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in BROKERS])
def broker(request):
    """Give a broker's url, and a name for the application that nobody else has there."""
    if request.param == "rabbitmq":
        return request.getfixturevalue("rabbitmq_url"), "agency"  # on a virtual host of its own
    prefix = request.getfixturevalue("kafka_prefix")
    return request.getfixturevalue("kafka").url + "?partitions=2&inbox_partitions=4", prefix.removesuffix(".")


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.postgres] * (name == "postgres")) for name in STORES])
def store(request):
    """Give a store's url; one of files is beside each process, one of a server has a schema for each."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return {"memory": "memory:", "sqlite": "sqlite:events.db"}[request.param]


@pytest.fixture
async def processes(broker, store, tmp_path):
    """Start processes of the agency on one broker, each with a store of its own."""
    url, name = broker
    async with AsyncExitStack() as stack:

        async def start(*components, **options):
            apps = [
                agency(url, *([names] if names else ()), store=store, root=tmp_path, name=name, **options)
                for names in components
            ]
            return [await stack.enter_async_context(app) for app in apps]

        yield start
