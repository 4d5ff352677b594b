"""Processes that cannot work as they are written: each is refused at start, with what to do."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from microlith import Command, Component, Event, Microlith, Process, Query, Response, WiringError, continues, starts
from microlith.errors import DuplicateNameError
from microlith.processes import ProcessError
from tests.unit.runtime.fulfilment import Fulfilment, OrderPlacedEvent, PaymentTakenEvent, TakePayment


class CardReadEvent(Event):
    """A card was read."""

    number: SecretStr


class Answer(Response):
    """Cannot be sent by a process."""


class Ask(Query[Answer]):
    """Cannot be sent by a process."""


def no_default() -> None:
    class P(Process):
        paid: bool

        @starts
        def placed(self, event: OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def no_start() -> None:
    class P(Process):
        @continues
        def placed(self, event: OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def no_method() -> None:
    class P(Process):
        pass

    Component("shop").process(P)


def twice() -> None:
    class P(Process):
        @starts
        def placed(self, event: OrderPlacedEvent) -> None: ...

        @continues
        def again(self, event: PaymentTakenEvent | OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def no_key() -> None:
    class P(Process, key="customer"):
        @starts
        def placed(self, event: OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def no_key_of_its_own() -> None:
    class P(Process, key="{order_id}"):
        @starts(key="{order}")
        def placed(self, event: OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def secret_key() -> None:
    class P(Process, key="number"):
        @starts
        def read(self, event: CardReadEvent) -> None: ...

    Component("shop").process(P)


def asynchronous() -> None:
    class P(Process):
        @starts
        async def placed(self, event: OrderPlacedEvent) -> None: ...

    Component("shop").process(P)


def takes_a_command() -> None:
    class P(Process):
        @starts
        def placed(self, command: TakePayment) -> None: ...

    Component("shop").process(P)


def takes_nothing() -> None:
    class P(Process):
        @starts
        def placed(self) -> None: ...

    Component("shop").process(P)


def takes_more() -> None:
    class P(Process):
        @starts
        def placed(self, event: OrderPlacedEvent, other: str) -> None: ...

    Component("shop").process(P)


def returns_a_text() -> None:
    class P(Process):
        @starts
        def placed(self, event: OrderPlacedEvent) -> list[TakePayment | str]:
            return []

    Component("shop").process(P)


def returns_a_query() -> None:
    class P(Process):
        @starts
        def placed(self, event: OrderPlacedEvent) -> Ask | None: ...

    Component("shop").process(P)


def hides_end() -> None:
    class P(Process):
        @starts
        def placed(self, event: OrderPlacedEvent) -> None: ...

        def end(self) -> None: ...

    Component("shop").process(P)


def names_nothing() -> None:
    class P(Process):
        @starts
        def placed(self, event: "Gone") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    Component("shop").process(P)


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (no_default, r"P\.paid has no default"),
        (no_start, "Nothing starts the process P"),
        (no_method, "Nothing starts the process P"),
        (twice, "P takes OrderPlacedEvent in two methods, placed and again"),
        (no_key, r"OrderPlacedEvent, which P\.placed takes, has no field 'customer'"),
        (no_key_of_its_own, "has no field 'order'"),
        (secret_key, r"CardReadEvent\.number is a secret"),
        (asynchronous, r"P\.placed is `async def`"),
        (takes_a_command, r"P\.placed takes command; a method of a process takes one event"),
        (takes_nothing, r"P\.placed takes nothing"),
        (takes_more, r"P\.placed takes event, other"),
        (returns_a_text, r"P\.placed says it returns str, which a process cannot send"),
        (returns_a_query, r"P\.placed says it returns .*Ask, which a process cannot send"),
        (hides_end, "P has an `end` of its own"),
        (names_nothing, r"An annotation of P\.placed means nothing"),
    ],
)
def test_a_process_that_cannot_work_is_refused(declare: Callable[[], None], problem: str):
    with pytest.raises(ProcessError, match=problem) as caught:
        declare()

    assert caught.value.hint
    assert isinstance(caught.value, WiringError)


def test_two_processes_of_one_name_are_refused():
    one, other = Component("one"), Component("other")
    one.process(Fulfilment)
    other.process(Fulfilment)

    with pytest.raises(DuplicateNameError, match="Fulfilment"):
        Microlith("shop", [one, other]).wire()


def test_annotations_that_name_no_message_are_taken():
    class Free(Process):
        """Says little."""

        @starts
        def placed(self, event: OrderPlacedEvent) -> list[Command] | Event | None:
            """Return anything."""

        @continues
        def took(self, event: PaymentTakenEvent) -> Any:
            """Return anything at all."""

    Component("shop").process(Free)


def test_the_handler_of_a_process_stands_in_the_file_of_its_methods():
    component = Component("shop")
    component.process(Fulfilment)
    (handler,) = component.handlers

    assert handler.file == inspect.getsourcefile(Fulfilment)


def test_an_upcaster_that_leads_nowhere_is_refused():
    component = Component("shop")
    component.process(Fulfilment)
    component.upcasts(Fulfilment, version=1)(dict)

    with pytest.raises(
        WiringError, match="FulfilmentStepped is at version 1; an upcaster from version 1 leads nowhere"
    ):
        Microlith("shop", [component]).wire()
