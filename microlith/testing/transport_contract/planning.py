"""What a transport promises about what has to be there at a broker: planned without a change, made by opening."""

import pytest

from microlith.testing.transport_contract.stage import (
    ANSWERING,
    COMMANDS,
    EVENTS,
    HANDLING,
    QUERIES,
    BrokerUnderTest,
    Stage,
    Traits,
    publish,
    sent_to,
)
from microlith.transports import Inbox, Subscribing, TopologyDriftError

ORDERS = Subscribing(EVENTS, "orders", frozenset({"Stored", "Taken"}))


class PlanningContract:
    """Plans, and what differs."""

    traits: Traits

    async def test_plan_tells_what_is_missing_and_changes_nothing(self, stage: Stage, broker: BrokerUnderTest) -> None:
        topology = stage.topology(HANDLING, ANSWERING, ORDERS, sends=(COMMANDS, EVENTS))
        transport = broker.connect()

        first = await transport.plan(topology)
        second = await transport.plan(topology)
        await transport.close()

        assert first == second
        assert {change.action for change in first} == {"create"}
        named = " ".join(change.name for change in first)
        assert stage.app in named
        assert all(word in named for word in ("stock", "orders"))

    async def test_nothing_is_missing_after_the_opening(self, stage: Stage, broker: BrokerUnderTest) -> None:
        topology = stage.topology(
            HANDLING, ANSWERING, ORDERS, sends=(COMMANDS, QUERIES, EVENTS), inbox=Inbox("shop-1-aaaa")
        )
        opened = await stage.open(*topology.takes, sends=topology.sends, inbox=topology.inbox)
        other = broker.connect()

        plans = [await opened.plan(topology), await other.plan(topology)]
        await other.close()

        assert plans == [[], []]

    async def test_topology_that_grows_is_planned_as_far_as_it_is_new(
        self, stage: Stage, broker: BrokerUnderTest
    ) -> None:
        await stage.open(HANDLING, sends=(COMMANDS,))
        mail = Subscribing(EVENTS, "mail")
        transport = broker.connect()

        plan = await transport.plan(stage.topology(HANDLING, mail, sends=(COMMANDS,)))
        await transport.close()

        assert plan
        assert not any("command" in change.name for change in plan)
        assert any("mail" in change.name for change in plan)

    async def test_opening_twice_changes_nothing(self, stage: Stage) -> None:
        sender = await stage.open(HANDLING, sends=(COMMANDS,))
        await publish(sender, *sent_to(COMMANDS, "Kept"))

        _, taking = await stage.taking(HANDLING)

        await taking.until_type("Kept")

    async def test_what_differs_is_named_and_refused(self, stage: Stage, broker: BrokerUnderTest) -> None:
        topology = stage.topology(HANDLING, ORDERS, sends=(COMMANDS,))
        if not self.traits.can_differ:
            await stage.open(*topology.takes, sends=topology.sends)
            return
        await broker.make_differ(topology)
        transport = broker.connect()

        before = await transport.plan(topology)
        with pytest.raises(TopologyDriftError) as refused:
            await transport.open(topology)
        after = await transport.plan(topology)
        await transport.close()

        assert "differs" in {change.action for change in before}
        assert before == after
        assert refused.value.differences
        assert any(stage.app in difference for difference in refused.value.differences)
