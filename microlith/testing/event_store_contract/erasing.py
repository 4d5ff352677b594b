"""What a store promises about personal fields and their erasure. Needs the extra `privacy`."""

from collections.abc import AsyncIterator
from typing import Annotated

import pytest

from microlith.context import correlated
from microlith.event_store.protocol import RecordedEvent, RowWriter, Settlement, TableSpec, TimedUnit, Unit
from microlith.event_store.schedule import Scheduling
from microlith.messages import Command, Event
from microlith.privacy import Personal
from microlith.testing.event_store_contract.stock import MakeStore, StoreUnderTest

HANDLER = "stock.ship"
PARCELS = TableSpec("stock_parcels", "customer", "text", ("address",))


class ShipCommand(Command):
    """Asks for a shipment."""

    customer: str
    address: Annotated[str, Personal("customer")]


class ItemShipped(Event):
    """An item was sent to a customer."""

    customer: str
    address: Annotated[str, Personal("customer")]
    phone: Annotated[str | None, Personal("customer")] = None


class ParcelsProjection:
    """Where each customer's last parcel went."""

    name = "stock.parcels"
    inline = True
    fingerprint = "1"
    tables = (PARCELS,)

    def __init__(self, *, refuses_erased: bool = False) -> None:
        self.refuses_erased = refuses_erased

    def takes(self, event: RecordedEvent) -> bool:
        """Take shipments."""
        return event.type == "ItemShipped"

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Note the address."""
        shipped = event.message
        if isinstance(shipped, ItemShipped):
            if self.refuses_erased and shipped.address == "[erased]":
                raise ValueError("no address")
            rows.put(PARCELS, shipped.customer, shipped.address.encode(), {"address": shipped.address})


class ErasingContract:
    """Personal fields: sealed where they are kept, read as they were, and gone with their key."""

    @pytest.fixture
    async def people(self, make_store: MakeStore) -> AsyncIterator[StoreUnderTest]:
        """Open a store that has shipped something to two customers."""
        store = StoreUnderTest(make_store, ShipCommand, ItemShipped)
        await store.store.open([ParcelsProjection()])
        await store.record(ItemShipped(customer="ann", address="Elm Street", phone="555"))
        await store.complete(Unit([correlated(ItemShipped(customer="bob", address="Oak Road"))]))
        yield store
        await store.store.close()

    async def test_personal_field_is_kept_sealed_and_read_as_it_was(self, people: StoreUnderTest) -> None:
        await people.reopen(ParcelsProjection())
        first, second = await people.whole_log()

        assert first.message == ItemShipped(customer="ann", address="Elm Street", phone="555")
        assert second.message == ItemShipped(customer="bob", address="Oak Road")
        assert b"Elm Street" not in first.data
        assert b"555" not in first.data
        assert b'"customer":"ann"' in first.data

    async def test_erased_field_is_gone_and_the_log_is_as_it_was(self, people: StoreUnderTest) -> None:
        before = [event.data for event in await people.whole_log()]
        rebuilt = await people.store.erase(["ann"])

        first, second = await people.whole_log()
        assert rebuilt == ["stock.parcels"]
        assert first.message == ItemShipped(customer="ann", address="[erased]", phone=None)
        assert second.message == ItemShipped(customer="bob", address="Oak Road")
        assert [event.data for event in await people.whole_log()] == before
        assert await people.store.verify() == 2

    async def test_read_models_hold_nothing_of_the_erased(self, people: StoreUnderTest) -> None:
        await people.store.erase(["ann"])

        assert people.store.rows.get(PARCELS, "ann") == b"[erased]"
        assert people.store.rows.get(PARCELS, "bob") == b"Oak Road"
        assert people.store.rows.find(PARCELS, {"address": "Elm Street"}, 1) == []

    async def test_projection_that_does_not_take_the_erased_stops_and_holds_nothing_of_it(
        self, make_store: MakeStore
    ) -> None:
        store = StoreUnderTest(make_store, ShipCommand, ItemShipped)
        await store.store.open([ParcelsProjection(refuses_erased=True)])
        await store.record(ItemShipped(customer="bob", address="Oak Road"))
        await store.record(ItemShipped(customer="ann", address="Elm Street"))
        await store.store.erase(["ann"])

        (state,) = await store.store.projection_states()
        rows = [store.store.rows.get(PARCELS, customer) for customer in ("ann", "bob")]
        await store.store.close()
        assert (state.checkpoint, state.error) == (0, "ValueError: no address")
        assert rows == [None, b"Oak Road"]

    async def test_commands_and_dead_letters_hold_nothing_of_the_erased(self, people: StoreUnderTest) -> None:
        for customer in ("ann", "bob"):
            await people.record(ShipCommand(customer=customer, address=f"{customer}'s home"))
        (failed, _) = await people.store.pending_commands()
        people.store.settle(Settlement(HANDLER, failed.envelope, error="no van"))
        await people.record(ShipCommand(customer="ann", address="ann's home"))
        await people.store.flush()
        await people.store.erase(["ann"])

        (letter,) = await people.store.dead_letters()
        dead = await people.store.dead_message(letter)
        waiting = [one.envelope.message for one in await people.store.pending_commands()]
        assert b"home" not in letter.data
        assert dead.message == ShipCommand(customer="ann", address="[erased]")
        assert waiting == [
            ShipCommand(customer="bob", address="bob's home"),
            ShipCommand(customer="ann", address="[erased]"),
        ]

    async def test_schedules_hold_nothing_of_the_erased(self, people: StoreUnderTest) -> None:
        later = [correlated(ShipCommand(customer=customer, address="at home")) for customer in ("ann", "bob")]
        await people.complete(TimedUnit([], changes=[Scheduling(one, 2e9) for one in later]))
        await people.store.erase(["ann"])

        kept = await people.store.schedules()
        assert [one.envelope.message for one in kept] == [
            ShipCommand(customer="ann", address="[erased]"),
            ShipCommand(customer="bob", address="at home"),
        ]
        assert not any(b"at home" in one.data for one in kept)

    async def test_what_comes_after_an_erasure_has_a_new_key(self, people: StoreUnderTest) -> None:
        await people.store.erase(["ann"])
        await people.record(ItemShipped(customer="ann", address="New Street"))

        messages = [event.message for event in await people.whole_log()]
        assert [message.address for message in messages if isinstance(message, ItemShipped)] == [
            "[erased]",
            "Oak Road",
            "New Street",
        ]

    async def test_erasure_is_unfinished_until_its_caller_says_so(self, people: StoreUnderTest) -> None:
        keys = people.types.keys
        assert keys is not None
        before = keys.unfinished
        await people.store.erase(["ann"])
        between = keys.unfinished
        keys.finish()

        assert (before, between, keys.unfinished) == (False, True, False)
