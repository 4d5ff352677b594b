"""What each kind asks for, and what it refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith_cli.errors import ToolError
from microlith_cli.scaffolding import kinds
from microlith_cli.scaffolding.errors import (
    DefinedElsewhereError,
    HandledElsewhereError,
    InvalidFieldError,
    InvalidNameError,
    RowNotCoveredError,
    UnknownComponentError,
)
from tests.unit.scaffolding.projects import add, make_project

HOSTILE_PARTS = [
    "..",
    "/",
    "\\",
    ".",
    "~",
    "\x00",
    "\n",
    "a",
    "shop",
    "class",
    "é",
    "\u0455",
    "\u202e",
    "-",
    "_",
    "{{",
    "%",
]
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(HOSTILE_PARTS), max_size=8).map("".join),
    st.from_regex(r"[A-Za-z0-9_./]{0,70}", fullmatch=True),
    st.sampled_from(["../shop", "/etc/passwd", "con", "json", "a" * 300, ".git", "shop/../..", "lambda"]),
)


def test_command_comes_with_handler_and_test(project):
    files = kinds.message(project, "command", "billing.PayInvoice", ["number:int", "amount:decimal"]).files

    assert [path for path in files if not path.endswith("__init__.py")] == [
        "shop/billing/commands/pay_invoice.py",
        "shop/billing/handlers/pay_invoice.py",
        "tests/billing/test_pay_invoice.py",
    ]
    assert "class PayInvoiceCommand(Command):" in files["shop/billing/commands/pay_invoice.py"]
    assert "@billing.handles(PayInvoiceCommand)" in files["shop/billing/handlers/pay_invoice.py"]
    assert 'PayInvoiceCommand(number=1, amount=Decimal("1.5"))' in files["tests/billing/test_pay_invoice.py"]


def test_event_comes_alone(project):
    files = kinds.message(project, "event", "billing.InvoicePaid", ["number:int"]).files

    assert [path for path in files if not path.endswith("__init__.py")] == ["shop/billing/events/invoice_paid.py"]


def test_query_has_the_response_that_was_asked_for(project):
    wanted = kinds.message(project, "query", "billing.Invoice", ["number:int"], ["amount:decimal", "paid:bool?"])

    text = wanted.files["shop/billing/queries/invoice.py"]
    assert "class InvoiceRequest(Query[InvoiceResponse]):" in text
    assert "    amount: Decimal\n    paid: bool | None = None\n" in text


def test_handler_is_the_one_that_came_with_its_command(project):
    add(project.root, kinds.message(project, "command", "billing.Pay", ["number:int", "at:datetime"]))

    plan = add(project.root, kinds.handler(project, "billing.Pay"))

    assert {change.action for change in plan.changes} == {"unchanged"}


def test_handler_of_another_components_event_imports_it(project):
    add(project.root, kinds.component(project, "mail"))
    add(project.root, kinds.message(project, "event", "billing.Paid", ["number:int"]))

    files = kinds.handler(project, "mail.Paid").files

    assert "from shop.billing.events.paid import PaidEvent" in files["shop/mail/handlers/on_paid.py"]


def test_handler_of_a_message_with_unknown_types_leaves_its_test_to_people(project):
    (project.root / "shop/billing/commands/pay.py").write_text("class PayCommand(Command):\n    to: Address\n", "utf-8")

    wanted = kinds.handler(project, "billing.Pay")

    assert not any(path.startswith("tests/") for path in wanted.files)
    assert wanted.notes


def test_second_handler_of_a_command_is_refused(project):
    add(project.root, kinds.message(project, "command", "billing.Pay", []))
    handlers = project.root / "shop/billing/handlers"
    (handlers / "pay.py").rename(handlers / "paying.py")

    with pytest.raises(HandledElsewhereError, match=r"shop/billing/handlers/paying\.py:\d+"):
        kinds.handler(project, "billing.Pay")


def test_second_class_of_a_name_is_refused(project):
    (project.root / "shop/billing/commands/all.py").write_text("\nclass PayCommand(Command): ...\n", "utf-8")

    with pytest.raises(DefinedElsewhereError, match=r"all\.py:2"):
        kinds.message(project, "command", "billing.Pay", [])


def test_projection_folds_the_events_that_fill_its_row(project):
    add(project.root, kinds.message(project, "event", "billing.Paid", ["number:int", "amount:decimal", "by:str"]))

    files = kinds.projection(project, "billing.Invoices", ["number:int", "amount:decimal", "open:bool=false"], ["Paid"])

    text = files.files["shop/billing/projections/invoices.py"]
    assert 'class InvoicesRow(ReadModel, key="number"):' in text
    assert "row = InvoicesRow(number=event.number, amount=event.amount)" in text


def test_projection_refuses_an_event_that_cannot_fill_its_row(project):
    add(project.root, kinds.message(project, "event", "billing.Paid", ["number:str"]))

    with pytest.raises(RowNotCoveredError, match="number, amount"):
        kinds.projection(project, "billing.Invoices", ["number:int", "amount:decimal"], ["Paid"])


@pytest.mark.parametrize("fields", [[], ["when:datetime"], ["number:int?"], ["tags:list[str]"]])
def test_projection_needs_a_key(project, fields):
    with pytest.raises(InvalidFieldError, match="key"):
        kinds.projection(project, "billing.Invoices", fields)


def test_projection_whose_table_no_database_could_name_is_refused(project):
    with pytest.raises(InvalidNameError, match="63"):
        kinds.projection(project, "billing." + "a" * 30, ["number:int"])


@pytest.mark.parametrize("kind", ["command", "query"])
def test_message_named_as_its_component_is_refused(project, kind):
    with pytest.raises(InvalidNameError):
        kinds.message(project, kind, "billing.Billing", [])


def test_part_of_a_component_that_is_not_there_is_refused(project):
    with pytest.raises(UnknownComponentError):
        kinds.message(project, "command", "mail.Send", [])


@pytest.mark.parametrize("kind", ["command", "event", "query"])
def test_step_has_one_name_however_its_message_is_typed(kind):
    names = {kinds.step_name(kind, f"billing.{typed}") for typed in ("PayInvoice", "pay_invoice")}

    assert names == {f"{kind} billing.pay_invoice"}


@pytest.fixture(scope="module")
def names_project(tmp_path_factory):
    """One project for all examples: none of them writes."""
    return make_project(tmp_path_factory.mktemp("names"))


@given(text=TEXTS)
@settings(max_examples=1000)
def test_no_name_leads_out_of_the_project(names_project, text):

    for make in (
        lambda: kinds.app(text, bare=True),
        lambda: kinds.component(names_project, text),
        lambda: kinds.message(names_project, "command", f"billing.{text}", []),
        lambda: kinds.message(names_project, "event", f"{text}.Paid", []),
        lambda: kinds.handler(names_project, f"billing.{text}"),
        lambda: kinds.projection(names_project, f"billing.{text}", ["id:int"]),
    ):
        try:
            wanted = make()
        except ToolError:
            continue
        for path in wanted.files:
            parts = path.split("/")
            assert all(part and part not in {".", ".."} and part.isascii() and part.isprintable() for part in parts)
            assert not path.startswith(("/", "~"))
            assert max(map(len, parts)) < 100
