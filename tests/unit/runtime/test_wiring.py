"""Wiring: what is found by convention, what is injected, and what is refused before anything starts."""

import sqlite3
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import new_class

import pytest

from microlith import Command, Component, Envelope, Event, Microlith, ReadModel, Table, View, WiringError
from microlith.errors import DiscoveryError, DuplicateHandlerError, DuplicateNameError, InjectionError
from microlith.projections import ReadModelError


class Order(Command):
    """Ask for a thing."""

    thing: str


class OrderedEvent(Event):
    """A thing was ordered."""

    thing: str


class Row(ReadModel, key="thing"):
    """One thing."""

    thing: str


class Price:
    """A resource that notes when it is opened and closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        """Note the end."""
        self.closed = True


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], str]]:
    """Write a package of components and make it importable: `package({"auth/__init__.py": "..."})` gives its name."""
    before = set(sys.modules)

    def write(files: dict[str, str]) -> str:
        for path, text in {"__init__.py": "", **files}.items():
            file = tmp_path / "wired_shop" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
            for parent in file.parents:
                if parent == tmp_path:
                    break
                (parent / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        return "wired_shop"

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("wired_shop"):
            del sys.modules[name]


FILES = {
    "auth/__init__.py": "from microlith import Component\nauth = Component('auth')\n",
    "auth/commands/login.py": "from microlith import Command\nclass LoginCommand(Command):\n    email: str\n",
    "auth/handlers/login.py": """
        from wired_shop.auth import auth
        from wired_shop.auth.commands.login import LoginCommand
        @auth.handles(LoginCommand)
        async def login(command: LoginCommand) -> None: ...
        """,
}


def test_components_are_found_by_convention_and_only_at_wiring(package):
    app = Microlith("shop", components=package(FILES))
    assert "wired_shop.auth.handlers.login" not in sys.modules

    catalog = app.catalog()

    assert catalog["components"] == ["auth"]
    assert [message["type"] for message in catalog["messages"]] == ["LoginCommand"]
    assert [handler["name"] for handler in catalog["handlers"]] == ["auth.login"]
    assert catalog["handlers"][0]["file"].endswith("login.py")


def test_a_module_that_does_not_import_is_named_with_its_line(package):
    name = package({**FILES, "auth/handlers/broken.py": "x = 1\ndef y(:\n"})

    with pytest.raises(DiscoveryError, match=r"wired_shop\.auth\.handlers\.broken: SyntaxError.*broken\.py:2"):
        Microlith("shop", components=name).wire()


def test_two_handlers_of_a_command_are_refused_with_both_places():
    shop = Component("shop")
    shop.handles(Order)(_first)
    shop.handles(Order)(_second)

    with pytest.raises(DuplicateHandlerError, match=r"Order has two handlers: .*test_wiring\.py:\d+ and .*:\d+"):
        Microlith("shop", [shop]).wire()


async def _first(command: Order) -> None: ...


async def _second(command: Order) -> None: ...


def test_two_components_of_one_name_are_refused():
    with pytest.raises(DuplicateNameError, match="Two components are named 'shop'"):
        Microlith("shop", [Component("shop"), Component("shop")]).wire()


def test_a_parameter_nobody_can_fill_is_refused_with_what_could_be_asked_for():
    shop = Component("shop")

    @shop.handles(Order)
    async def order(command: Order, price: Price) -> None: ...

    with pytest.raises(InjectionError, match="nothing fills parameter 'price'") as caught:
        Microlith("shop", [shop]).wire()

    assert "shop.provides(Type, factory)" in caught.value.hint


def test_a_view_of_another_components_rows_is_refused():
    shop, stock = Component("shop"), Component("stock")
    stock.projection("rows", Row).on(OrderedEvent)(_fold)

    @shop.handles(Order)
    async def order(command: Order, rows: View[Row]) -> None: ...

    with pytest.raises(InjectionError, match="rows"):
        Microlith("shop", [shop, stock]).wire()


def _fold(event: OrderedEvent, table: Table[Row]) -> None:
    table.put(Row(thing=event.thing))


async def test_resources_are_built_once_injected_and_closed():
    shop = Component("shop")
    seen: list[Price] = []
    shop.provides(Price, Price)

    @shop.handles(Order)
    async def order(command: Order, price: Price) -> OrderedEvent:
        seen.append(price)
        return OrderedEvent(thing=command.thing)

    async with Microlith("shop", [shop], store="memory:") as app:
        await app.command_bus.execute(Order(thing="a"), until=OrderedEvent)
        await app.command_bus.execute(Order(thing="b"), until=OrderedEvent)
        open_while_running = not seen[0].closed

    assert seen[0] is seen[1]
    assert open_while_running
    assert seen[0].closed


async def test_a_resource_may_be_an_async_context_manager():
    shop = Component("shop")
    steps: list[str] = []

    @asynccontextmanager
    async def price():
        steps.append("open")
        yield Price()
        steps.append("close")

    shop.provides(Price, price)

    @shop.handles(Order)
    def order(command: Order, price: Price) -> OrderedEvent:
        steps.append(type(price).__name__)
        return OrderedEvent(thing=command.thing)

    async with Microlith("shop", [shop], store="memory:") as app:
        await app.command_bus.execute(Order(thing="a"), until=OrderedEvent)

    assert steps == ["open", "Price", "close"]


async def test_a_resource_that_its_context_does_not_close_is_closed():
    shop = Component("shop")
    database = sqlite3.connect(":memory:")
    shop.provides(sqlite3.Connection, lambda: database)

    async with Microlith("shop", [shop], store="memory:"):
        database.execute("SELECT 1")

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


async def test_a_resource_that_cannot_be_built_stops_the_start_and_names_it():
    shop = Component("shop")

    def broken() -> Price:
        raise OSError("no route")

    shop.provides(Price, broken)

    with pytest.raises(WiringError, match="could not build Price: no route"):
        await Microlith("shop", [shop], store="memory:").start()


async def test_a_handler_gets_its_envelope():
    shop = Component("shop")
    seen: list[str] = []

    @shop.handles(Order)
    async def order(command: Order, envelope: Envelope[Order]) -> OrderedEvent:
        seen.append(envelope.correlation_id)
        return OrderedEvent(thing=command.thing)

    async with Microlith("shop", [shop], store="memory:") as app:
        receipt = app.command_bus.dispatch(Order(thing="a"))
        await app.event_bus.wait_for(receipt.correlation_id, OrderedEvent)

    assert seen == [receipt.correlation_id]


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [({"key": "nothing"}, "no field 'nothing'"), ({"key": "price"}, "neither str nor int"), ({}, "no field ''")],
)
def test_a_read_model_that_cannot_work_is_refused_where_it_is_written(keywords, problem):
    annotations = {"thing": str, "price": float}

    with pytest.raises(ReadModelError, match=problem):
        new_class("Bad", (ReadModel,), keywords, lambda body: body.update({"__annotations__": annotations}))


def test_a_projection_written_as_async_is_refused():
    shop = Component("shop")

    @shop.projection("rows", Row).on(OrderedEvent)  # type: ignore[type-var]
    async def fold(event: OrderedEvent) -> None: ...

    with pytest.raises(ReadModelError, match="is `async def`"):
        Microlith("shop", [shop]).wire()


async def test_finding_by_a_field_that_is_no_index_is_refused_with_the_way_to_add_it():
    shop = Component("shop")
    shop.projection("rows", Row).on(OrderedEvent)(_fold)
    problems: list[str] = []

    @shop.handles(Order)
    async def order(command: Order, rows: View[Row]) -> OrderedEvent:
        with pytest.raises(ReadModelError) as caught:
            await rows.find(colour="red")
        problems.append(caught.value.hint)
        return OrderedEvent(thing=command.thing)

    async with Microlith("shop", [shop], store="memory:") as app:
        await app.command_bus.execute(Order(thing="a"), until=OrderedEvent)

    assert 'indexes=("colour",)' in problems[0]
