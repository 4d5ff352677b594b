"""What processes tell of what goes from one to another: each its part, and together one tree."""

from contextlib import AsyncExitStack

import pytest

from microlith.testing.memory_broker import MemoryBroker
from microlith_cli.causation import build_tree
from tests.eventually import eventually
from tests.unit.transports.agency import BookCommand, PaidEvent, agency


class Told:
    """Three processes of the agency, and the facts that each has told."""

    def __init__(self, apps):
        self.apps = apps
        self.facts = {name: [] for name in apps}
        self._followers = {name: app.tracer.follow() for name, app in apps.items()}

    def of(self, process, type_name):
        """The facts of a process about a message type, or about its handling."""
        for name, app in self.apps.items():
            app.tracer.flush()
            self.facts[name] += self._followers[name].take()
        named = [
            fact for fact in self.facts[process] if type_name in (fact["type"], fact.get("data", {}).get("message"))
        ]
        return [fact for fact in named if "bus" in fact], [fact for fact in named if "bus" not in fact]


@pytest.fixture
async def told():
    """The facts of booking, paying and telling, after a trip was booked from telling."""
    broker = MemoryBroker()
    async with AsyncExitStack() as stack:
        names = ("booking", "paying", "telling")
        apps = {name: await stack.enter_async_context(agency(broker, name)) for name in names}
        found = Told(apps)
        await apps["telling"].command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)
        await eventually(lambda: apps["telling"].handled)
        for app in apps.values():
            await app.idle()
        yield found


async def test_every_fact_names_its_process(told):
    told.of("booking", "")

    assert {name: {fact["process"] for fact in facts} for name, facts in told.facts.items()} == {
        name: {name} for name in told.apps
    }


async def test_leaving_is_told_by_the_outbox_and_arriving_names_the_process_it_came_from(told):
    (sent,), (left,) = told.of("telling", "BookCommand")
    (came,), (handled,) = told.of("booking", "BookCommand")

    assert (sent["handlers"], "origin" in sent) == (1, False)
    assert left["data"]["handler"] == "outbox.booking.book"
    assert (came["id"], came["handlers"], came["origin"]) == (sent["id"], 1, "telling")
    assert handled["data"]["handler"] == "booking.book"


async def test_event_that_came_does_not_count_on_leaving_again(told):
    (sent,), (left,) = told.of("paying", "PaidEvent")
    came, handled = told.of("telling", "PaidEvent")

    assert (sent["handlers"], left["data"]["handler"]) == (1, "outbox.events@memory://agency")
    assert [(fact["handlers"], fact["projections"], fact["origin"]) for fact in came] == [(1, 1, "paying")]
    assert [fact["data"]["handler"] for fact in handled] == ["telling.tell"]


async def test_event_that_is_only_heard_has_no_handler_and_an_origin(told):
    (heard,), handled = told.of("telling", "BookedEvent")

    assert (heard["handlers"], heard["origin"], handled) == (0, "booking", [])


async def test_application_that_runs_whole_names_no_process():
    async with agency(MemoryBroker()) as app:
        follower = app.tracer.follow()
        await app.command_bus.execute(BookCommand(trip="rome"), until=PaidEvent)
        app.tracer.flush()

        assert all("process" not in fact for fact in follower.take())


async def test_catalog_is_that_of_the_whole_application_in_every_process():
    whole, part = agency(MemoryBroker()).catalog(), agency(MemoryBroker(), "paying").catalog()

    assert (whole["runs"], part["runs"]) == (["booking", "paying", "telling"], ["paying"])
    assert {**part, "runs": None} == {**whole, "runs": None}


async def test_tree_of_all_processes_is_one_and_finished(told):
    told.of("booking", "")
    facts = [fact for name in ("paying", "telling", "booking") for fact in told.facts[name]]

    tree = build_tree(facts[0]["correlationid"], facts)

    assert [(root.type, root.origin) for root in tree.roots] == [("BookCommand", "")]
    assert (tree.outcome, tree.unfinished, tree.orphans) == ("ok", 0, [])
    assert tree.processes == {"booking", "paying", "telling"}
    assert [message.type for message in tree.walk()] == ["BookCommand", "BookedEvent", "PayCommand", "PaidEvent"]
    (paid,) = [message for message in tree.walk() if message.type == "PaidEvent"]
    assert (paid.projections, {handling.handler for handling in paid.handlings}) == (
        1,
        {"outbox.events@memory://agency", "telling.tell"},
    )


async def test_tree_without_the_process_that_handles_is_unfinished_where_that_has_told_of_the_message(told):
    told.of("booking", "")
    paid = [fact for name in ("paying", "telling") for fact in told.facts[name]]
    untold = [fact for fact in paid if fact["id"] != f"{fact.get('causationid')}/telling.tell"]

    tree = build_tree(paid[0]["correlationid"], untold)

    assert (len(paid) - len(untold), tree.outcome, tree.unfinished) == (1, "unfinished", 1)
