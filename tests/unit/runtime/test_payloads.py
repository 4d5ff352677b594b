"""Payloads: what the gate refuses, what is masked, and that everything else comes back the same."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from microlith import Command
from microlith.errors import AmbiguousTypeError, PayloadError, UnknownTypeError, UnsafePayloadError
from microlith.payloads import MAX_BYTES, MAX_DEPTH, PayloadRefused, load_payload, redact, scrub
from microlith.secrecy import secret_values, shown_fields
from microlith.serialization import MessageTypes


class Card(BaseModel):
    """Something nested with a secret."""

    number: SecretStr
    owner: str


class Pay(Command):
    """A command with secrets at several depths."""

    amount: float = 1.0
    cards: tuple[Card, ...] = ()
    by_name: dict[str, Card] = Field(default_factory=dict)
    note: str = ""
    api_token: str = ""
    extra: dict[str, object] = Field(default_factory=dict)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_what_the_gate_lets_through_is_what_was_sent(value):
    assert load_payload(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not valid UTF-8"),
        ("\ud800", "not valid UTF-8"),
        (b"[" * 65 + b"]" * 65, f"more than {MAX_DEPTH} levels"),
        (b"[" * 1_000_000, f"more than {MAX_DEPTH} levels"),
        (b'"' + b"x" * MAX_BYTES + b'"', "bytes long"),
        (b"NaN", "NaN"),
        (b"[1, -Infinity]", "-Infinity"),
        (b"1e400", "too large for a float"),
        (str(2**63).encode(), "beyond 64 bits"),
        (b"9" * 4301, "beyond 64 bits"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"a": ["\\ud800"]}', "half of a surrogate pair"),
        (b'{"\\ud800": 1}', "half of a surrogate pair"),
    ],
)
def test_the_gate_refuses_what_would_harm_or_change(raw, problem):
    with pytest.raises(PayloadRefused, match=problem):
        load_payload(raw)


def test_the_gate_takes_a_payload_at_each_limit():
    assert load_payload(b'"' + b"x" * (MAX_BYTES - 2) + b'"') == "x" * (MAX_BYTES - 2)
    assert load_payload(b"[" * 64 + b"]" * 64)
    assert load_payload(str(2**63 - 1).encode()) == 2**63 - 1


@given(st.binary(max_size=200))
def test_the_gate_never_fails_in_another_way(raw):
    with suppress(PayloadRefused):
        load_payload(raw)


@pytest.fixture
def types() -> MessageTypes:
    """Return the types of one component."""
    found = MessageTypes()
    found.add(Pay, "shop")
    return found


def test_stored_bytes_keep_secrets_and_shown_fields_mask_them(types: MessageTypes):
    message = Pay(
        cards=(Card(number=SecretStr("4111-1111"), owner="ann"),),
        by_name={"bob": Card(number=SecretStr("4222-2222"), owner="bob")},
        api_token="t0ken-t0ken",
        extra={"deep": {"Password": "hunter22"}},
    )

    stored = types.encode(message)
    shown = json.dumps(shown_fields(message))

    assert types.decode("shop", "Pay", 1, stored) == message
    for secret in ("4111-1111", "4222-2222", "t0ken-t0ken", "hunter22"):
        assert secret in stored.decode()
        assert secret not in shown


def test_secret_values_are_found_at_any_depth_and_scrubbed_from_text():
    message = Pay(cards=(Card(number=SecretStr("4111-1111"), owner="ann"),))

    assert scrub("card 4111-1111 refused", secret_values(message)) == "card *** refused"


@pytest.mark.parametrize("secret", ['it\'s "quoted"', "two\nlines", "back\\slash", "Grüße \x1b"])
@pytest.mark.parametrize("quote", [str, repr, json.dumps])
def test_a_secret_is_scrubbed_however_it_is_quoted(secret, quote):
    assert scrub(f"bad token {quote(secret)}", [secret]).strip("'\"") == f"bad token {quote('***')}".strip("'\"")


def test_redact_masks_by_name_at_any_depth():
    assert redact({"a": [{"X-Api-Key": "k1", "n": 1}], "cookie": {"v": "c"}}) == {
        "a": [{"X-Api-Key": "***", "n": 1}],
        "cookie": {"v": "***"},
    }


def test_a_payload_error_names_every_problem_and_the_nearest_field_but_no_value(types: MessageTypes):
    with pytest.raises(PayloadError) as caught:
        types.validate("Pay", {"amuont": "s3cret", "cards": 7})

    assert [(p["field"], p["nearest"]) for p in caught.value.problems] == [("cards", None), ("amuont", "amount")]
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_a_payload_that_is_too_deep_is_refused_before_it_is_stored(types: MessageTypes):
    nested: object = "x"
    for _ in range(70):
        nested = [nested]

    with pytest.raises(UnsafePayloadError, match="64 levels"):
        types.encode(Pay(extra={"n": nested}))


def test_a_payload_that_is_too_long_is_refused_before_it_is_stored(types: MessageTypes):
    with pytest.raises(UnsafePayloadError, match="bytes long"):
        types.encode(Pay(note="x" * MAX_BYTES))


def test_a_name_two_components_share_must_be_written_with_the_component(types: MessageTypes):
    twin = type("Pay", (Command,), {"__module__": "elsewhere", "__annotations__": {}})
    types.add(twin, "billing")

    with pytest.raises(AmbiguousTypeError, match=r"shop\.Pay or billing\.Pay"):
        types.find("Pay")
    assert types.find("billing.Pay").cls is twin


@pytest.mark.parametrize("name", ["os.system", "../Pay", "shop.Pay.__class__", "pay", "\u0420\u0430y", ""])
def test_a_name_is_never_more_than_a_name(types: MessageTypes, name: str):
    with pytest.raises(UnknownTypeError):
        types.find(name)


@pytest.mark.parametrize("name", ["password", "x" * 200 + "_Pass-Word"], ids=["short", "long"])
def test_secret_name_is_recognised_however_long_it_is(name: str):
    assert [redact({name: "hush"}) for _ in range(2)] == [{name: "***"}] * 2
