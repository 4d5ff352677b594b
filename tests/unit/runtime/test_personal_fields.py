"""Fields marked as personal: checked at start, sealed in the store, opened by nobody else."""

import json
import time
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from microlith import Command, Component, Decider, Event, Microlith, Personal, Response, WiringError
from microlith.errors import PayloadError, UnsafePayloadError
from microlith.payloads import scrub
from microlith.privacy.keys import REMEMBERED, KeyRing, KeysClosedError, KeysInMemory, MissingKeyError
from microlith.privacy.marking import PersonalFieldError, personal_fields
from microlith.secrecy import hidden_values, shown_fields
from microlith.serialization import MessageTypes


class Registered(Event):
    user_id: str
    email: Annotated[str, Personal("user_id")]
    age: Annotated[int | None, Personal("user_id")] = None


class Asked(Command):
    email: Annotated[str, Personal()]
    password: Annotated[SecretStr, Personal("email")]


def declared(*messages: type[Any], ring: KeyRing | None = None) -> MessageTypes:
    types = MessageTypes()
    for message in messages:
        types.add(message, "people")
    types.keys = ring or KeyRing(KeysInMemory())
    return types


def refused(message: type[Any]) -> str:
    with pytest.raises(PersonalFieldError) as caught:
        personal_fields(cast("type[BaseModel]", message))
    assert caught.value.hint
    return str(caught.value)


def test_sealed_payload_shows_which_field_and_nothing_of_it():
    types = declared(Registered)
    stored = types.encode(Registered(user_id="u1", email="ann@example.org", age=44), "m1")
    shape = json.loads(stored)

    assert shape["user_id"] == "u1"
    assert sorted(shape) == ["$personal", "user_id"]
    assert sorted(shape["$personal"]) == ["age", "email"]
    assert b"ann" not in stored
    assert types.decode("people", "Registered", 1, stored, message_id="m1") == Registered(
        user_id="u1", email="ann@example.org", age=44
    )


def test_equal_values_are_sealed_differently():
    types = declared(Registered)
    one, other = (types.encode(Registered(user_id="u1", email="a@b.c"), "m1") for _ in range(2))

    assert one != other


def test_sealed_field_opens_in_its_own_message_and_field_only():
    types = declared(Registered, Asked)
    stored = types.encode(Registered(user_id="u1", email="a@b.c"), "m1")
    shape = json.loads(stored)
    shape["$personal"] = {"age": shape["$personal"]["email"]}

    for data, message_id in ((stored, "m2"), (json.dumps(shape).encode(), "m1")):
        with pytest.raises(PayloadError, match="belongs to another message"):
            types.decode("people", "Registered", 1, data, message_id=message_id)


def test_value_itself_can_name_the_subject_and_secrets_are_sealed_too():
    ring = KeyRing(KeysInMemory())
    types = declared(Asked, ring=ring)
    asked = Asked(email="a@b.c", password=SecretStr("hush"))
    stored = types.encode(asked, "m1")
    before = types.decode("people", "Asked", 1, stored, message_id="m1")
    ring.destroy(["a@b.c"])
    after = types.decode("people", "Asked", 1, stored, message_id="m1")

    assert before == asked
    assert after == Asked(email="[erased]", password=SecretStr("[erased]"))


def test_erased_field_reads_as_none_where_it_may_and_as_declared_where_it_says():
    class Born(Event):
        user_id: int
        year: Annotated[int, Personal("user-{user_id}", erased=1900)]
        nick: Annotated[str | None, Personal("user-{user_id}")] = "x"

    ring = KeyRing(KeysInMemory())
    types = declared(Born, ring=ring)
    stored = types.encode(Born(user_id=7, year=1980, nick="ann"), "m1")
    known = ring.ids(["7", "user-7"])
    ring.destroy(["user-7"])

    assert list(known) == ["user-7"]
    assert types.decode("people", "Born", 1, stored, message_id="m1") == Born(user_id=7, year=1900, nick=None)


def test_shown_fields_and_errors_mask_what_is_personal():
    message = Registered(user_id="u1", email="ann@example.org", age=44)

    assert shown_fields(message) == {"user_id": "u1", "email": "***", "age": "***"}
    assert shown_fields(Registered(user_id="u1", email="[erased]")) == {
        "user_id": "u1",
        "email": "[erased]",
        "age": None,
    }
    assert scrub("no ann@example.org here", hidden_values(message)) == "no *** here"


def test_mark_that_cannot_work_is_refused_with_a_way_out():
    class Nobodys(Event):
        email: Annotated[str, Personal("user_id")]

    class Perhaps(Event):
        user_id: str | None
        email: Annotated[str, Personal("user_id")]

    class Never(Event):
        user_id: str
        age: Annotated[int, Personal("user_id")]

    class TooShort(Event):
        user_id: str
        country: Annotated[str, Field(max_length=2), Personal("user_id")]

    class Validated(Event):
        user_id: str
        email: Annotated[str, Personal("user_id", erased="gone")]

        @field_validator("email")
        @classmethod
        def has_an_at(cls, value: str) -> str:
            if "@" not in value:
                raise ValueError("no address")
            return value

    class Address(BaseModel):
        street: Annotated[str, Personal("user_id")]

    class Deep(Event):
        user_id: str
        addresses: list[Address]

    class Union(Event):
        user_id: str
        email: Annotated[str, Personal("user_id")] | None

    class Template(Event):
        email: Annotated[str, Personal("{}")]

    assert "which is no field" in refused(Nobodys)
    assert "which may be None" in refused(Perhaps)
    assert "takes neither None nor '[erased]'" in refused(Never)
    assert "takes neither" in refused(TooShort)
    assert "does not take 'gone'" in refused(Validated)
    assert "holds a personal field inside" in refused(Deep)
    assert "holds a personal field inside" in refused(Union)
    assert "names no field" in refused(Template)


def test_response_is_masked_and_needs_no_subject():
    class Found(Response):
        email: Annotated[str, Personal("user_id")]

    assert shown_fields(Found(email="a@b.c")) == {"email": "***"}


def test_message_whose_subject_is_not_named_is_refused_before_it_is_stored():
    with pytest.raises(UnsafePayloadError, match="'user_id' must hold a text or number"):
        declared(Registered).encode(Registered(user_id="", email="a@b.c"), "m1")


def test_personal_fields_need_an_open_store():
    types = declared(Registered)
    types.keys = None

    with pytest.raises(KeysClosedError, match="no store with their keys is open"):
        types.encode(Registered(user_id="u1", email="a@b.c"), "m1")


def test_missing_library_is_told_at_start(monkeypatch):
    people = Component("people")

    @people.handles(Registered)
    async def note(event: Registered) -> None: ...

    monkeypatch.setattr("microlith.application.wiring.find_spec", lambda _: None)
    with pytest.raises(WiringError, match=r"people.Registered has personal fields") as caught:
        Microlith("people", [people]).wire()
    assert "microlith[privacy]" in caught.value.hint


def test_stream_named_by_a_personal_field_is_refused():
    people = Component("people")
    people.decider(
        Decider(
            "Person",
            "person-{email}",
            initial=dict,
            decide=lambda state, command: None,
            evolve=lambda state, event: state,
            commands={Asked: ()},
            events=[],
        )
    )

    with pytest.raises(WiringError, match=r"named by Asked.email, which is personal"):
        Microlith("people", [people]).wire()


def test_field_that_was_renamed_is_read_through_its_upcaster_before_and_after_an_erasure():
    class Named(Event, version=2):
        user_id: str
        email: Annotated[str, Personal("user_id", erased="gone@example.org")]

    class Called(Event):
        user_id: str
        mail: Annotated[str, Personal("user_id", erased="nobody@example.org")]

    ring = KeyRing(KeysInMemory())
    stored = declared(Called, ring=ring).encode(Called(user_id="u1", mail="ann@example.org"), "m1")
    types = declared(Named, ring=ring)
    types.of(Named).upcasters[1] = lambda data: {"user_id": data["user_id"], "email": data["mail"]}
    before = types.decode("people", "Named", 1, stored, message_id="m1")
    ring.destroy(["u1"])
    after = types.decode("people", "Named", 1, stored, message_id="m1")

    assert before == Named(user_id="u1", email="ann@example.org")
    assert after == Named(user_id="u1", email="nobody@example.org")


def test_field_that_is_no_longer_marked_is_still_read():
    ring = KeyRing(KeysInMemory())
    stored = declared(Registered, ring=ring).encode(Registered(user_id="u1", email="a@b.c"), "m1")
    unmarked = type(
        "Registered", (Event,), {"__annotations__": {"user_id": str, "email": str, "age": int | None}, "age": None}
    )
    read: Any = declared(unmarked, ring=ring).decode("people", "Registered", 1, stored, message_id="m1")

    assert (read.user_id, read.email) == ("u1", "a@b.c")


def test_what_a_sender_writes_is_never_taken_for_a_sealed_field():
    class Free(Event):
        body: dict[str, Any]

    free = Free(body={"$personal": {"email": "AQ"}})
    types = declared(Free)

    assert types.decode("people", "Free", 1, types.encode(free)) == free


def test_key_that_is_missing_and_was_not_destroyed_is_not_taken_for_an_erasure():
    stored = declared(Registered).encode(Registered(user_id="u1", email="a@b.c"), "m1")

    with pytest.raises(MissingKeyError, match="although its subject was not erased"):
        declared(Registered).decode("people", "Registered", 1, stored, message_id="m1")


def test_remembered_keys_are_bounded_and_those_not_kept_yet_are_never_forgotten():
    ring = KeyRing(KeysInMemory())
    first = ring.key_for("first").secret
    for number in range(REMEMBERED + 10):
        ring.key_for(str(number))
    fresh = len(ring.fresh)
    ring.keep()

    assert len(ring._by_id) <= REMEMBERED
    assert (fresh, len(ring.fresh)) == (REMEMBERED + 11, 0)
    assert ring.key_for("first").secret == first


def test_message_without_personal_fields_pays_nothing():
    class Plain(Event):
        user_id: str

    types = declared(Plain)
    types.keys = None  # nothing of it is even looked at

    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(2000):
            types.encode(message, "m1")
        return time.perf_counter() - began

    message = Plain(user_id="u1")
    assert types.of(Plain).personal == {}
    assert min(seconds() for _ in range(3)) < 0.5
