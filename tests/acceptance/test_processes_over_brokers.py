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
    "test_process_that_runs_everything_sends_to_itself_over_the_broker",
    "test_query_is_answered_by_another_process",
    "test_timeout_of_a_wait_across_processes_says_what_is_missing",
    "test_wait_finds_an_event_of_the_third_process",
    "test_what_is_sent_while_nobody_is_there_waits_for_its_component",
]


@pytest.fixture(
    params=[
        pytest.param(("rabbitmq_url", "memory:"), marks=pytest.mark.rabbitmq, id="rabbitmq-memory"),
        pytest.param(("rabbitmq_url", "sqlite:events.db"), marks=pytest.mark.rabbitmq, id="rabbitmq-sqlite"),
        pytest.param(
            ("rabbitmq_url", "postgres_url"),
            marks=(pytest.mark.rabbitmq, pytest.mark.postgres),
            id="rabbitmq-postgres",
        ),
    ]
)
async def processes(request, tmp_path):
    """Start processes of the agency on one broker, each with a store of its own."""
    fixture, store = request.param
    url = request.getfixturevalue(fixture)
    store = request.getfixturevalue(store) if store.endswith("_url") else store
    async with AsyncExitStack() as stack:

        async def start(*components, **options):
            apps = [
                agency(url, *([names] if names else ()), store=store, root=tmp_path, **options) for names in components
            ]
            return [await stack.enter_async_context(app) for app in apps]

        yield start
