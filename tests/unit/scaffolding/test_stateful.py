"""What aggregates and processes ask for, and what is refused."""

import pytest

from microlith_cli.scaffolding import kinds, stateful
from microlith_cli.scaffolding.errors import (
    DefinedElsewhereError,
    InvalidFieldError,
    InvalidNameError,
    UnknownComponentError,
    UnknownMessageError,
)
from tests.unit.scaffolding.projects import actions, add, undo


@pytest.fixture
def ordered(project):
    """A project with two events that share a field."""
    add(project.root, kinds.message(project, "event", "billing.OrderPlaced", ["order_id:str", "note:str?"]))
    add(project.root, kinds.message(project, "event", "billing.PaymentTaken", ["order_id:str", "token:secret"]))
    return project


def test_aggregate_comes_with_a_command_an_event_and_a_test(project):
    files = stateful.aggregate(project, "billing.Account", ["balance:int=0", "owner:str"]).files

    assert {path for path in files if not path.endswith("__init__.py")} == {
        "shop/billing/commands/create_account.py",
        "shop/billing/events/account_created.py",
        "shop/billing/aggregates/account.py",
        "tests/billing/test_account_aggregate.py",
    }
    text = files["shop/billing/aggregates/account.py"]
    assert 'class Account(Aggregate, stream="account-{account_id}"):' in text
    assert "    balance: int = 0\n    owner: str | None = None\n" in text
    assert "billing.aggregate(Account)" in text
    assert (
        "    account_id: str\n    balance: int = 0\n    owner: str\n"
        in files["shop/billing/commands/create_account.py"]
    )


def test_aggregate_and_process_may_be_called_like_their_component(project):
    aggregate = stateful.aggregate(project, "billing.Billing", []).files
    process = stateful.process(project, "billing.Billing", []).files

    assert "billing.aggregate(Billing)" in aggregate["shop/billing/aggregates/billing.py"]
    assert "billing.process(Billing)" in process["shop/billing/processes/billing.py"]


def test_process_takes_its_events_in_order_and_by_their_key(ordered):
    wanted = stateful.process(
        ordered, "billing.Fulfilment", ["paid:bool=false"], ["OrderPlaced", "PaymentTaken"], "order_id"
    )

    text = wanted.files["shop/billing/processes/fulfilment.py"]
    assert 'class Fulfilment(Process, key="order_id"):' in text
    assert "    @starts\n    def on_order_placed(self, event: OrderPlacedEvent) -> None:" in text
    assert "    @continues\n    def on_payment_taken(self, event: PaymentTakenEvent) -> None:" in text
    assert "billing.process(Fulfilment)" in text
    assert 'event = OrderPlacedEvent(order_id="text")' in wanted.files["tests/billing/test_fulfilment_process.py"]
    assert wanted.notes == ()


def test_process_without_events_comes_with_one_that_starts_it(project):
    files = stateful.process(project, "billing.Fulfilment", []).files

    assert "class FulfilmentStartedEvent(Event):" in files["shop/billing/events/fulfilment_started.py"]
    assert 'class Fulfilment(Process, key="key"):' in files["shop/billing/processes/fulfilment.py"]


def test_process_without_a_key_says_what_its_key_is(ordered):
    wanted = stateful.process(ordered, "billing.Fulfilment", [], ["OrderPlaced"])

    assert "class Fulfilment(Process):" in wanted.files["shop/billing/processes/fulfilment.py"]
    assert "correlation id" in wanted.notes[0]


@pytest.mark.parametrize("kind", ["aggregate", "process"])
def test_adding_twice_changes_nothing_and_undo_takes_all_back(ordered, kind):
    def wanted():
        if kind == "aggregate":
            return stateful.aggregate(ordered, "billing.account", ["balance:int"])
        return stateful.process(ordered, "billing.account", [], ["OrderPlaced"], "order_id")

    first = add(ordered.root, wanted())
    again = add(ordered.root, wanted())
    undone = undo(ordered.root, f"{kind} billing.account")

    assert "create" in set(actions(first).values())
    assert set(actions(again).values()) == {"unchanged"}
    assert set(actions(undone).values()) == {"remove"}
    assert not (ordered.root / f"shop/billing/{kind}s/account.py").exists()


@pytest.mark.parametrize(
    ("target", "fields", "error"),
    [
        ("billing", [], InvalidNameError),
        ("billing.", [], InvalidNameError),
        ("nobody.Account", [], UnknownComponentError),
        ("billing.Aggregate", [], InvalidNameError),
        ("billing.Decimal", [], InvalidNameError),
        ("billing.Process", [], InvalidNameError),
        ("billing.../x", [], InvalidNameError),
        ("billing.Account", ["x:nothing"], InvalidFieldError),
        ("billing.Account", ["noname"], InvalidFieldError),
        ("billing.Account", ["x:int", "x:int"], InvalidFieldError),
    ],
)
def test_what_cannot_be_meant_is_refused(project, target, fields, error):
    with pytest.raises(error):
        stateful.aggregate(project, target, fields)
    with pytest.raises(error):
        stateful.process(project, target, fields)


@pytest.mark.parametrize("field", ["account_id:str", "created:bool", "create:int", "on_account_created:int"])
def test_fields_that_would_hide_a_part_of_the_aggregate_are_refused(project, field):
    with pytest.raises(InvalidFieldError):
        stateful.aggregate(project, "billing.Account", [field])


@pytest.mark.parametrize("field", ["end:bool", "on_order_placed:int"])
def test_fields_that_would_hide_a_part_of_the_process_are_refused(ordered, field):
    with pytest.raises(InvalidFieldError, match="a method is called so"):
        stateful.process(ordered, "billing.Fulfilment", [field], ["OrderPlaced"])


@pytest.mark.parametrize("key", ["customer", "note", "token"])
def test_a_key_that_not_every_event_has_or_that_is_secret_is_refused(ordered, key):
    with pytest.raises(InvalidFieldError, match="no such field that is always there and may be seen"):
        stateful.process(ordered, "billing.Fulfilment", [], ["OrderPlaced", "PaymentTaken"], key)


def test_an_event_that_is_not_there_is_refused(project):
    with pytest.raises(UnknownMessageError):
        stateful.process(project, "billing.Fulfilment", [], ["Nothing"])


def test_a_name_that_would_be_longer_as_a_key_is_refused(project):
    with pytest.raises(InvalidNameError, match="its key"):
        stateful.aggregate(project, "billing." + "a" * 38, [])


def test_an_event_that_another_module_defines_is_refused(project):
    folder = project.root / "shop/billing/events"
    folder.mkdir(exist_ok=True)
    (folder / "all.py").write_text(
        "class AccountCreatedEvent(Event):\n    ...\n\n\nclass FlowStartedEvent(Event):\n    ...\n"
    )

    with pytest.raises(DefinedElsewhereError):
        stateful.aggregate(project, "billing.Account", [])
    with pytest.raises(DefinedElsewhereError):
        stateful.process(project, "billing.Flow", [])
