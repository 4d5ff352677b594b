"""Validation: what is accepted can be read back, and keeps the rules that no field can tell."""

import pytest
from pydantic import Field, SecretStr

from microlith import Command, Component, Event, HandlerFailedError, Microlith, PayloadError
from microlith.middlewares import Validation


class Order(Command):
    item: str
    count: int = 1
    tags: list[str] = Field(default_factory=list)
    card: SecretStr = SecretStr("4111-1111")


class RushOrder(Order):
    pass


class Ordered(Event):
    item: str


def make_shop(*middleware):
    orders = Component("orders")

    @orders.handles(Order)
    async def order(command: Order) -> Ordered:
        return Ordered.model_construct(item=5) if command.item == "broken" else Ordered(item=command.item)

    @orders.handles(RushOrder)
    async def rush(command: RushOrder) -> Ordered:
        return await order(command)

    return Microlith("shop", [orders], store="memory:", middleware=middleware)


def in_stock(command: Order) -> None:
    if command.item == "unicorn":
        raise ValueError(f"no unicorns for {command.card.get_secret_value()}")


def not_too_many(command: Order) -> bool:
    if command.count > 10:
        raise ValueError("at most 10")
    return False  # what a check returns does not matter


async def test_a_message_that_could_not_be_read_back_is_refused_and_not_recorded():
    async with make_shop(Validation()) as app:
        order = Order(item="tea")
        order.tags.append(5)  # type: ignore[arg-type]
        for wrong in (order, Order.model_construct(item="tea", count="many"), Order.model_construct(count=2)):
            with pytest.raises(PayloadError) as caught:
                app.command_bus.dispatch(wrong)
            assert "many" not in str(caught.value)

        assert await app.store.pending_commands() == []


async def test_a_right_message_passes_with_its_secret():
    async with make_shop(Validation()) as app:
        ordered = await app.command_bus.execute(Order(item="tea", tags=["hot"], card=SecretStr("42")), until=Ordered)

    assert ordered == Ordered(item="tea")


async def test_every_check_of_the_type_and_its_parents_is_asked_and_secrets_are_masked():
    async with make_shop(Validation({Order: [in_stock, not_too_many]})) as app:
        for cls in (Order, RushOrder):
            with pytest.raises(PayloadError) as caught:
                app.command_bus.dispatch(cls(item="unicorn", count=11))
            assert [problem["problem"] for problem in caught.value.problems] == ["no unicorns for ***", "at most 10"]

        assert await app.store.pending_commands() == []
        await app.command_bus.execute(RushOrder(item="tea", count=10), until=Ordered)


async def test_what_a_handler_returns_is_validated_and_its_failure_is_whole():
    async with make_shop(Validation()) as app:
        with pytest.raises(HandlerFailedError, match="PayloadError: The payload does not fit Ordered: item"):
            await app.command_bus.execute(Order(item="broken"), until=Ordered)

        assert await app.store.head() == -1


async def test_validating_again_can_be_left_out():
    async with make_shop(Validation({Order: not_too_many}, again=False)) as app:
        app.command_bus.dispatch(Order.model_construct(item="tea", count=1, tags=[5]))
        with pytest.raises(PayloadError, match="at most 10"):
            app.command_bus.dispatch(Order(item="tea", count=11))


async def test_a_check_that_breaks_is_no_refusal_of_the_payload():
    def broken(command):
        raise LookupError("no table")

    async with make_shop(Validation({Order: broken})) as app:
        with pytest.raises(LookupError):
            app.command_bus.dispatch(Order(item="tea"))
