"""FIELD:TYPE=DEFAULT becomes a line of Python that means what was typed, or is refused."""

import ast
import datetime as dt
import decimal
import uuid

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith import Command, Event, Query, ReadModel, Response
from microlith_cli.scaffolding.errors import InvalidFieldError
from microlith_cli.scaffolding.fields import ANNOTATIONS, TAKEN, parse_field, parse_fields

NAMES = {
    "UTC": dt.UTC,
    "UUID": uuid.UUID,
    "Decimal": decimal.Decimal,
    "Field": pydantic.Field,
    "SecretStr": pydantic.SecretStr,
    "date": dt.date,
    "datetime": dt.datetime,
}


def model(*fields):
    """A pydantic model of parsed fields, made the way a module would make it."""
    body = "\n".join(f"    {field.line}" for field in fields) or "    pass"
    space = {name: NAMES[name] for field in fields for _, name in field.imports}
    exec(f"class Made(pydantic.BaseModel):\n{body}", {"pydantic": pydantic, **space}, space)
    return space["Made"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("email:str", "email: str"),
        ("email:email", "email: str"),
        ("count:int=01", "count: int = 1"),
        ("count:int=-7", "count: int = -7"),
        ("price:float=1.50", "price: float = 1.5"),
        ("on:bool=TRUE", "on: bool = True"),
        ("name:str=", 'name: str = ""'),
        ("name:str=a=b:c", 'name: str = "a=b:c"'),
        ("name:str?", "name: str | None = None"),
        ("name:str?=none", "name: str | None = None"),
        ("name:str?=x", 'name: str | None = "x"'),
        ("day:date=2026-01-02", "day: date = date(2026, 1, 2)"),
        ("at:datetime=2026-01-02T03:04:05+02:00", "at: datetime = datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)"),
        ("amount:decimal=9.90", 'amount: Decimal = Decimal("9.90")'),
        ("password:secret", "password: SecretStr"),
        ("tags:list[str]", "tags: list[str]"),
        ("tags:list[uuid?]=[]", "tags: list[UUID | None] = Field(default_factory=list)"),
        ("tags:list[list[int]]?", "tags: list[list[int]] | None = None"),
    ],
)
def test_field_becomes_a_line(text, line):
    assert parse_field(text).line == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "email",
        "email:",
        "email:strr",
        "Email:str",
        "e-mail:str",
        "1:str",
        "_x:str",
        "__class__:str",
        "class:str",
        "model_x:str",
        "copy:str",
        "correlated:str",
        "a" * 41 + ":str",
        "x:str??",
        "x:list",
        "x:list[]",
        "x:list[str",
        "x:" + "list[" * 9 + "str" + "]" * 9,
        "x:list[str]=a",
        "x:str; import os",
        "x:int=1.5",
        "x:int=a",
        "x:int=9223372036854775808",
        "x:int=" + "9" * 5000,
        "x:int=\uff11",
        "x:float=nan",
        "x:float=1e999",
        "x:bool=1",
        "x:date=2026-02-30",
        "x:datetime=2026-01-02T03:04:05",
        "x:datetime=0001-01-01T00:00:00+14:00",
        "x:uuid=1",
        "x:decimal=NaN",
        "x:decimal=1e5",
        "x:secret=hunter2",
        "x:str=" + "a" * 200,
        "str:str",
        "date:date",
    ],
)
def test_field_is_refused(text):
    with pytest.raises(InvalidFieldError) as caught:
        parse_fields([text])

    assert caught.value.exit == 2
    assert len(str(caught.value)) < 400


def test_field_that_is_there_twice_is_refused():
    with pytest.raises(InvalidFieldError, match="twice"):
        parse_fields(["a:str", "a:int"])


def test_misspelt_type_is_named_with_the_nearest():
    with pytest.raises(InvalidFieldError) as caught:
        parse_field("x:datetim")

    assert caught.value.hint == "Did you mean datetime?"


@pytest.mark.parametrize("kind", [*ANNOTATIONS.values()], ids=ANNOTATIONS)
def test_sample_is_a_value_of_its_type(kind):
    made = eval(kind.sample, {name: NAMES[name] for _, name in kind.value_imports})
    annotation = eval(kind.annotation, {name: NAMES[name] for _, name in kind.imports})

    assert pydantic.TypeAdapter(annotation).validate_python(made, strict=True) == made


@given(st.text(max_size=40))
@settings(max_examples=500)
def test_any_text_is_a_default_that_says_the_same_or_is_refused(text):
    try:
        (field,) = parse_fields([f"x:str={text}"])
    except InvalidFieldError as error:
        assert "longer" in str(error)  # noqa: PT017 (most texts are taken)
        return

    assert field.line.isprintable()
    assert ast.literal_eval(field.default) == text


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_keep_their_value(whole, real, truth):
    fields = parse_fields([f"a:int={whole}", f"b:float={real!r}", f"c:bool={truth}"])

    assert model(*fields)().model_dump() == {"a": whole, "b": real, "c": truth}


@given(st.datetimes(timezones=st.timezones(no_cache=True)), st.dates(), st.uuids())
def test_times_days_and_ids_keep_their_value(at, day, unique):
    if at.year in {1, 9999}:
        return  # may lie outside of what UTC can say
    at = at.astimezone(dt.UTC)  # an hour that a clock shows twice equals nothing
    fields = parse_fields([f"a:datetime={at.isoformat()}", f"b:date={day.isoformat()}", f"c:uuid={unique}"])

    assert model(*fields)().model_dump() == {"a": at, "b": day, "c": unique}


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,5}:[a-z\[\]?]{1,20}(=.{0,20})?"))
@settings(max_examples=1000)
def test_any_text_is_one_annotated_line_or_refused(text):
    try:
        (field,) = parse_fields([text])
    except InvalidFieldError:
        return

    (node,) = ast.parse(field.line).body
    assert isinstance(node, ast.AnnAssign)
    assert len(field.line) <= 96


def test_taken_names_are_those_that_every_model_has():
    shared = {name for base in (Command, Event, Query, Response, ReadModel) for name in dir(base)}

    assert {name for name in shared if not name.startswith(("_", "model_"))} == TAKEN
