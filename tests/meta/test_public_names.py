"""What `from microlith import ...` offers: a promise, so it is written down twice.

Whoever adds or removes a public name changes the list here too, and the changelog.
"""

import inspect

import pytest
import tomli

import microlith
from tests.meta.tree import ROOT

PUBLIC_NAMES = [
    "Aggregate",
    "Answer",
    "BusFullError",
    "Cancelled",
    "Clock",
    "ClosedError",
    "Command",
    "CommandBus",
    "Component",
    "Decider",
    "Envelope",
    "Event",
    "EventBus",
    "ExternalProjection",
    "HandlerFailedError",
    "Message",
    "Microlith",
    "MicrolithError",
    "Middleware",
    "NoHandlerError",
    "PayloadError",
    "Personal",
    "Process",
    "Projection",
    "ProjectionsBehindError",
    "Query",
    "QueryBus",
    "ReadModel",
    "Receipt",
    "RecordedEvent",
    "Response",
    "Retry",
    "ScheduleError",
    "Scheduled",
    "StoreError",
    "Streams",
    "Subscription",
    "Table",
    "View",
    "WaitTimeout",
    "WiringError",
    "continues",
    "correlated",
    "current_envelope",
    "decides",
    "evolves",
    "starts",
]


def test_public_names_are_the_promised_ones():
    assert microlith.__all__ == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_public_name_exists_and_says_what_it_is(name):
    value = getattr(microlith, name)

    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"microlith.{name} has no docstring"


def test_version_is_the_one_of_the_distribution():
    project = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert microlith.__version__ == project["version"]
