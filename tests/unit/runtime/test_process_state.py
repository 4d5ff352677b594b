"""The stored state of processes: what no longer fits, what is read through upcasters, what is not shown."""

from typing import Any

from pydantic import SecretStr

from microlith import Microlith, Process, starts
from tests.unit.runtime.fulfilment import OrderPlacedEvent, application, shop


async def states_of(app: Microlith, stream: str) -> list[Any]:
    """Read the states of a process, step by step."""
    return [event.message.state.model_dump() for event in await app.store.read(stream)]  # type: ignore[attr-defined]


def versioned(version: int) -> type[Process]:
    """Make a process whose state had whole euros at first, and has cents by now."""
    if version == 1:

        class Bill(Process, key="order_id"):
            """In euros."""

            euros: int = 5

            @starts
            def placed(self, event: OrderPlacedEvent) -> None:
                """Remember."""

        return Bill

    class Bill2(Process, key="order_id", version=version):
        """In cents."""

        cents: int = 0

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:
            """Add a cent."""
            self.cents += 1

    Bill2.__name__ = "Bill"
    return Bill2


async def begun_bill(store: str) -> None:
    """Begin a process of version 1."""
    async with application(store, versioned(1)) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()


async def test_state_that_no_longer_fits_makes_a_dead_letter_that_says_what_to_do(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"
    await begun_bill(store)

    class Bill(Process, key="order_id"):
        """A changed state without a new version."""

        cents: int = 0

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:
            """Never called."""
            raise AssertionError

    async with application(store, Bill) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="8"))
        await app.idle()
        (letter, _) = await app.store.dead_letters()

    assert "The stored state of the process Bill '7' does not fit its class any more" in letter.error
    assert "state.euros" in letter.error


async def test_old_state_is_read_through_an_upcaster(tmp_path):
    store = f"sqlite:{tmp_path}/events.db"
    await begun_bill(store)
    bill = versioned(2)
    component = shop(bill)

    @component.upcasts(bill, version=1)
    def to_cents(state: dict[str, Any]) -> dict[str, Any]:
        return {"cents": state["euros"] * 100}

    async with Microlith("shop", [component], store=store) as app:
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()

        assert await states_of(app, "process-Bill-7") == [{"cents": 500}, {"cents": 501}]


async def test_secrets_in_a_state_are_stored_and_not_shown():
    class Vault(Process, key="order_id"):
        """Keeps a secret."""

        number: SecretStr = SecretStr("")

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:
            """Remember it."""
            self.number = SecretStr("4711")

    async with application("memory:", Vault) as app:
        follower = app.tracer.follow()
        await app.event_bus.dispatch(OrderPlacedEvent(order_id="7"))
        await app.idle()
        app.tracer.flush()
        (step,) = [fact for fact in follower.take() if fact["type"] == "VaultStepped"]
        (stored,) = await app.store.read("process-Vault-7")

    assert "4711" not in str(step)
    assert b"4711" in stored.data
    assert (step["stepof"], step["component"], step["handlers"]) == ("Vault", "shop", 0)
