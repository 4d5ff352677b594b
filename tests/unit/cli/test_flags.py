from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from microlith_cli.errors import PayloadError
from microlith_cli.flags import example, payload_from
from microlith_cli.schema import Field as SchemaField
from microlith_cli.schema import Schema


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str = ""
    zip_code: str
    city: str


class Order(BaseModel):
    email: str = Field(description="Where the receipt goes.")
    password: SecretStr
    address: Address
    billing: Address | None = None
    tags: list[str] = []
    sizes: list[int] | None = None
    lines: list[Address] = []
    count: int = 1
    price: Decimal = Decimal(0)
    ratio: float = 0.5
    active: bool = True
    note: str | None = None
    level: int | None = None
    mixed: int | str = 0
    color: Color = Color.RED
    unit: Literal["kg", "g"] = "kg"
    step: Literal[1, 2] = 1
    day: date | None = None
    at: datetime | None = None
    token: UUID | None = None
    labels: dict[str, int] = {}
    anything: Any = None
    timeout: int = 0


ORDER = Schema(Order.model_json_schema())


def field(schema: Schema, name: str) -> SchemaField:
    found = schema.field(name)
    assert found is not None
    return found


def built(*tokens: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The payload from flags alone: what is missing is not looked at."""
    return payload_from(ORDER, tokens, given or {}, "Order", can_ask=lambda _: True)[0]


@pytest.mark.parametrize(
    ("tokens", "payload"),
    [
        ("--email a@b.c", {"email": "a@b.c"}),
        ("--email=a=b", {"email": "a=b"}),
        ("--email=", {"email": ""}),
        ("--email null", {"email": "null"}),
        ("--address.zip-code 1 --address.city X", {"address": {"zip_code": "1", "city": "X"}}),
        ("--address.zip_code 1", {"address": {"zip_code": "1"}}),
        ("--billing.city X", {"billing": {"city": "X"}}),
        ("--billing null", {"billing": None}),
        ('--address {"city":"X"}', {"address": {"city": "X"}}),
        ("--tags a --tags b", {"tags": ["a", "b"]}),
        ("--tags []", {"tags": []}),
        ("--no-tags", {"tags": []}),
        ("--sizes 1 --sizes -2", {"sizes": [1, -2]}),
        ("--sizes null", {"sizes": None}),
        ('--lines {"city":"X"} --lines {}', {"lines": [{"city": "X"}, {}]}),
        ("--count -5", {"count": -5}),
        ("--price 12.5", {"price": 12.5}),
        ("--price 1234567890123456.78", {"price": "1234567890123456.78"}),
        ("--ratio 1e3", {"ratio": 1000.0}),
        ("--active", {"active": True}),
        ("--no-active", {"active": False}),
        ("--active=off", {"active": False}),
        ("--active false --count 2", {"active": False, "count": 2}),
        ("--note null", {"note": None}),
        ("--note 5", {"note": "5"}),
        ("--level null", {"level": None}),
        ("--mixed 5", {"mixed": 5}),
        ("--mixed five", {"mixed": "five"}),
        ("--color blue", {"color": "blue"}),
        ("--unit g", {"unit": "g"}),
        ("--step 2", {"step": 2}),
        ("--day 2026-01-31", {"day": "2026-01-31"}),
        ("--labels.a 1 --labels.b 2", {"labels": {"a": 1, "b": 2}}),
        ('--anything {"a":[1]}', {"anything": {"a": [1]}}),
        ("--anything text", {"anything": "text"}),
        ("--field.timeout 5", {"timeout": 5}),
    ],
)
def test_flags_become_the_payload(tokens, payload):
    assert built(*tokens.split()) == payload


def test_flags_are_laid_over_a_payload_that_stays_as_it_is():
    given: dict[str, Any] = {"email": "a", "address": {"city": "X", "zip_code": "1"}, "tags": ["old"]}

    payload = built("--address.city", "Y", "--tags", "new", given=given)

    assert payload == {"email": "a", "address": {"city": "Y", "zip_code": "1"}, "tags": ["new"]}
    assert given["address"]["city"] == "X"


@pytest.mark.parametrize(
    ("tokens", "field", "problem"),
    [
        ("--count five", "count", "must be an integer"),
        ("--count 1.5", "count", "must be an integer"),
        ("--ratio nan", "ratio", "must be a number"),
        ("--active=maybe", "active", "must be a boolean"),
        ("--no-active=x", "active", "takes no value"),
        ("--color bleu", "color", "must be one of red, blue; did you mean blue?"),
        ("--step 3", "step", "must be one of 1, 2"),
        ("--address Berlin", "address", "must be a JSON object"),
        ("--address [1]", "address", "must be a JSON object"),
        ("--lines 5", "lines", "must be a JSON object"),
        ("--email", "email", "needs a value"),
        ("--email --count 5", "email", "write --email=--"),
        ("stray", "stray", "is not a flag"),
        ("--", "--", "is not a flag"),
        ("--address.city.name x", "address.city.name", "no such field"),
        ("--no-email", "no-email", "no such field"),
    ],
)
def test_flag_that_cannot_be_is_refused_with_its_reason(tokens, field, problem):
    with pytest.raises(PayloadError) as caught:
        built(*tokens.split())

    assert caught.value.problems[0]["field"] == field
    assert problem in caught.value.problems[0]["problem"]


def test_all_problems_are_told_at_once_with_the_nearest_names():
    with pytest.raises(PayloadError) as caught:
        built("--emial", "x", "--address.zip-cod", "y", "--count", "z")

    assert [(p["field"], p["nearest"]) for p in caught.value.problems] == [
        ("emial", "email"),
        ("address.zip-cod", "address.zip_code"),
        ("count", None),
    ]
    assert caught.value.hint == "Did you mean 'email'?"


def test_value_given_is_never_part_of_an_error():
    with pytest.raises(PayloadError) as caught:
        built("--count", "hunter2", "--color", "hunter2")

    assert "hunter2" not in f"{caught.value}{caught.value.as_dict()}"


def test_missing_fields_are_all_named_down_to_nested_ones():
    with pytest.raises(
        PayloadError, match=r"email: is required \(--email\); password: .*; address\.zip_code"
    ) as caught:
        payload_from(ORDER, ["--billing.city", "X"], {}, "Order")

    assert [problem["field"] for problem in caught.value.problems] == [
        "email",
        "password",
        "address.zip_code",
        "address.city",
        "billing.zip_code",
    ]


def test_field_that_is_mistyped_is_not_told_to_be_missing_too():
    with pytest.raises(PayloadError) as caught:
        payload_from(ORDER, ["--emial", "x", "--address.city", "a", "--address.zip_code", "b"], {}, "Order")

    assert [problem["field"] for problem in caught.value.problems] == ["emial", "password"]


def test_secret_that_can_be_asked_for_is_not_missing():
    given = {"email": "a", "address": {"city": "X", "zip_code": "1"}}

    _, asked = payload_from(ORDER, [], given, "Order", can_ask=lambda field: field.is_secret)

    assert [field.name for field in asked] == ["password"]


def test_secret_is_known_as_one():
    assert [field.name for field in ORDER.fields() if field.is_secret] == ["password"]


def test_fields_show_type_default_and_doc():
    shown = {field.name: (field.kind, field.default) for field in ORDER.fields()}

    assert shown["email"] == ("text", None)
    assert shown["address.city"] == ("text", None)
    assert shown["tags"] == ("list of text", "[]")
    assert shown["color"] == ("red|blue", '"red"')
    assert shown["day"] == ("date", "null")
    assert shown["level"] == ("integer", "null")
    assert shown["active"] == ("boolean", "true")
    assert field(ORDER, "email").doc == "Where the receipt goes."


def test_example_holds_what_is_required_and_no_secret():
    line = example("Order", ORDER, ["--timeout"])

    assert line == (
        "microlith dispatch Order --email ada@example.org --address.zip-code some-zip-code --address.city some-city"
    )


class Tree(BaseModel):
    name: Annotated[str, Field(min_length=3)]
    children: list["Tree"] = []
    parent: "Tree | None" = None


def test_schema_that_refers_to_itself_is_bounded():
    schema = Schema(Tree.model_json_schema())

    assert field(schema, "parent.parent.name").name == "parent.parent.name"
    assert len(schema.fields()) < 50
    assert [field.name for field in schema.missing({"name": "abc", "parent": {}})] == ["parent.name"]


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["--email", "--tags", "--no-active", "--address.city", "--count"]))
)
def test_any_words_give_a_payload_or_a_payload_error(tokens):
    with suppress(PayloadError):
        assert isinstance(built(*tokens), dict)
