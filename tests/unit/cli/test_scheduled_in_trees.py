"""What is scheduled stands in the tree of its correlation, until it was sent."""

from io import StringIO

import pytest

from microlith import Cancelled, Command, Component, Event, Microlith, Scheduled, correlated
from microlith.testing import VirtualClock, in_memory
from microlith_cli.causation import build_tree
from microlith_cli.console.tree import show_tree


class Brew(Command):
    pass


class Remind(Command):
    text: str = "tea"


class BrewedEvent(Event):
    pass


async def drawn(*after: object) -> str:
    """Draw the tree of a command that schedules a reminder, with what its event's handler returns, after a minute or two."""
    component, clock = Component("kitchen"), VirtualClock()

    @component.handles(Brew)
    async def brew(command: Brew) -> list[object]:
        return [BrewedEvent(), Scheduled(Remind(), after=60, name="cold")]

    @component.handles(BrewedEvent)
    async def smell(event: BrewedEvent) -> object:
        return [one for one in after if not isinstance(one, int)]

    @component.handles(Remind)
    async def remind(command: Remind) -> None: ...

    async with in_memory(Microlith("kitchen", [component]), clock=clock) as app:
        follower = app.tracer.follow()
        envelope = correlated(Brew())
        await app.command_bus.dispatch(envelope)
        await app.idle()
        await clock.advance(sum(one for one in after if isinstance(one, int)))
        app.tracer.flush()
        facts = [fact for fact in follower.take() if fact.get("correlationid") == envelope.correlation_id]
    stream = StringIO()
    show_tree(build_tree(envelope.correlation_id, facts), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("after", "says", "says_not"),
    [
        ((), "Remind  scheduled for 20", "kitchen.remind"),
        ((61,), "Remind → kitchen.remind", "scheduled"),
        ((Cancelled("cold"), 61), "Remind  cancelled before it was due", "scheduled"),
        ((Scheduled(Remind(), after=120, name="cold"),), "Remind  cancelled before it was due", "kitchen.remind"),
        ((Scheduled(Remind(), after=120, name="cold"), 121), "Remind → kitchen.remind", "scheduled"),
    ],
)
async def test_tree_shows_what_became_of_a_schedule(after, says, says_not):
    shown = await drawn(*after)

    assert says in shown
    assert says_not not in shown
    assert "not in the trace log" not in shown


async def test_scheduled_message_from_outside_is_a_root():
    fact = {
        "type": "microlith.scheduled",
        "time": "2030-01-01T00:00:00Z",
        "correlationid": "c-1",
        "data": {"message": "Remind", "messageid": "c-1", "due": "2030-01-02T00:00:00.000000Z"},
    }

    tree = build_tree("c-1", [fact])

    assert [(root.type, root.due) for root in tree.roots] == [("Remind", "2030-01-02T00:00:00.000000Z")]
    assert tree.outcome == "ok"
