"""What a project has already is read from its source, not imported."""

import pytest

from microlith_cli.scaffolding.errors import (
    AmbiguousMessageError,
    NoPackageError,
    UnknownComponentError,
    UnknownMessageError,
    UnreadableSourceError,
)
from microlith_cli.scaffolding.sources import Sources

ALL = ("command", "query", "event")

PAY = '''
"""Raises at import, so it can only have been read."""
import microlith
from typing import ClassVar, Literal, Optional
from pydantic import Field, SecretStr

raise RuntimeError

class PayCommand(microlith.Command):
    limit: ClassVar[int] = 3
    number: int
    way: Literal["card", "cash"]
    note: str | None = None
    tags: list[str] = Field(default_factory=list)
    amount: int = Field(gt=0)
    address: Address
    password: SecretStr = Field(...)

class NotAMessage:
    pass
'''


@pytest.fixture
def pay(project):
    path = project.root / "shop/billing/commands/pay.py"
    path.write_text(PAY, "utf-8")
    return project


def test_message_is_found_with_its_fields(pay):
    (found,) = pay.messages("billing")

    assert (found.name, found.kind, found.stem) == ("PayCommand", "command", "pay")
    assert (found.path, found.module) == ("shop/billing/commands/pay.py", "shop.billing.commands.pay")
    assert [(field.name, field.required) for field in found.fields] == [
        ("number", True),
        ("way", True),
        ("note", False),
        ("tags", False),
        ("amount", True),
        ("address", True),
        ("password", True),
    ]
    assert [field.type.sample if field.type else None for field in found.fields[:3]] == ["1", '"card"', '"text"']
    assert [field.type for field in found.fields[4:]] == [None, None, None]


@pytest.mark.parametrize("name", ["Pay", "pay", "PayCommand", "pay_command"])
def test_message_is_found_by_every_form_of_its_name(pay, name):
    assert pay.find_message(name, "billing", kinds=ALL, elsewhere=False).name == "PayCommand"


def test_message_of_single_letters_keeps_the_name_of_its_module(project):
    (project.root / "shop/billing/commands/a_b.py").write_text("class ABCommand(Command): ...", "utf-8")

    assert project.find_message("a_b", "billing", kinds=ALL, elsewhere=False).stem == "a_b"


def test_unknown_message_is_named_with_the_nearest(pay):
    with pytest.raises(UnknownMessageError) as caught:
        pay.find_message("Pai", "billing", kinds=ALL, elsewhere=False)

    assert caught.value.hint == "Did you mean 'Pay'?"


def test_name_that_two_messages_share_is_refused(pay):
    (pay.root / "shop/billing/events/pay.py").write_text("class PayEvent(Event): ...", "utf-8")

    with pytest.raises(AmbiguousMessageError, match=r"billing\.PayCommand or billing\.PayEvent"):
        pay.find_message("Pay", "billing", kinds=ALL, elsewhere=False)


def test_event_of_another_component_is_found_where_asked(pay):
    events = pay.root / "shop/mail/events"
    events.mkdir(parents=True)
    (events.parent / "__init__.py").touch()
    (events / "sent.py").write_text("class SentEvent(Event): ...", "utf-8")

    assert pay.find_message("Sent", "billing", kinds=ALL, elsewhere=True).component == "mail"
    with pytest.raises(UnknownMessageError):
        pay.find_message("Sent", "billing", kinds=ALL, elsewhere=False)


@pytest.mark.parametrize("source", [b"class :", b"\xff", b"\x00", b"x = " + b"(" * 5000])
def test_module_that_is_not_python_is_named(project, source):
    (project.root / "shop/billing/commands/bad.py").write_bytes(source)

    with pytest.raises(UnreadableSourceError, match=r"shop/billing/commands/bad\.py"):
        project.messages("billing")


def test_unknown_component_is_named_with_the_nearest(project):
    with pytest.raises(UnknownComponentError) as caught:
        project.require_component("biling")

    assert caught.value.hint == "Did you mean 'billing'?"


def test_application_outside_a_package_has_no_place_for_components(tmp_path):
    from microlith_cli.project import find_project

    (tmp_path / "pyproject.toml").write_text('[tool.microlith]\napp = "main:app"\n', "utf-8")

    with pytest.raises(NoPackageError):
        Sources.of(find_project(tmp_path))
