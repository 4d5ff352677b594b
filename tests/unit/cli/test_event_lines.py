"""Events as lines, and lines as events: what is written is read as it was, and nothing else is taken."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith import Event
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.memory_copies import MemoryCopies
from microlith.event_store.records import LATEST, MICROSECONDS
from microlith.serialization import MessageTypes
from microlith_cli.console.plain import harmless_json
from microlith_cli.event_log.lines import EventLines, written_time
from microlith_cli.transferring.parsing import MAX_LINE, ImportFileError, Reading
from tests.hostile import VALUES, unsafe_in


class Noted(Event):
    value: Any = None


TYPES = MessageTypes()
TYPES.add(Noted, "notes")
COPY = EventCopy("notes", "Noted", 1, "notes-1", 0, "m-1", "c-1", None, 1_700_000_000_000_001, 2, None, b'{"value":1}')


def written(copy: EventCopy, *, reveal: bool = True) -> str:
    event = MemoryCopies(TYPES).event(copy, 0)
    return harmless_json(EventLines("app", TYPES, reveal=reveal).line(event))


def read(*lines: str | bytes, **options: Any) -> list[EventCopy]:
    text = b"\n".join(line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line for line in lines)
    return [copy for _, copy in Reading(io.BytesIO(text), TYPES, **options).copies()]


def changed(**changes: Any) -> str:
    told = json.loads(written(COPY)) | {"position": 1} | changes
    return json.dumps({name: value for name, value in told.items() if value is not ...})


@pytest.mark.parametrize("name", [name for name in VALUES if name not in {"lone surrogates", "null", "deep"}])
def test_hostile_payload_comes_back_byte_by_byte_and_harmlessly(name):
    data = Noted(value=VALUES[name]).model_dump_json().encode()
    line = written(COPY._replace(data=data))

    assert unsafe_in(line) == []
    assert read(line)[0]._replace(where="") == COPY._replace(data=data)


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
    st.lists(_TEXT, min_size=4, max_size=4),
    st.dictionaries(_TEXT, _TEXT, max_size=3),
    st.integers(0, LATEST * MICROSECONDS),
)
def test_whatever_is_written_is_read_as_it_was(value, texts, headers, microseconds):
    try:
        data = Noted(value=value).model_dump_json().encode()
    except ValueError:  # no text: no store keeps it either
        return
    copy = COPY._replace(
        **dict(zip(("stream", "message_id", "correlation_id", "causation_id"), texts, strict=True)),
        microseconds=microseconds,
        headers=headers or None,
        data=data,
    )

    line = written(copy)

    assert unsafe_in(line) == []
    assert read(line, unreadable=True)[0]._replace(where="") == copy
    assert written(read(line, unreadable=True)[0]) == line


@pytest.mark.parametrize("microseconds", [0, 1, 10**15 + 1, 253_402_300_799_999_999])
def test_time_is_written_exactly(microseconds):
    line = changed(time=written_time(microseconds))

    assert read(line)[0].microseconds == microseconds


def test_line_that_another_program_wrote_anew_is_the_same_event():
    told = json.loads(written(COPY._replace(data='{"value":"é,\\"data\\":"}'.encode())))
    anew = json.dumps(dict(reversed(told.items())), indent=None, separators=(" ,\t", " : "), ensure_ascii=True)

    assert read(f"  {anew}\r\n")[0]._replace(where="") == COPY._replace(data='{"value" : "é,\\"data\\":"}'.encode())


def test_integer_of_a_thousand_digits_that_a_log_holds_comes_back():
    data = b'{"value":%s}' % (b"7" * 1000)

    assert read(written(COPY._replace(data=data)))[0].data == data


def test_empty_lines_and_a_missing_last_line_break_are_passed_over():
    assert len(read(b"", written(COPY), b"", b"  \r", changed(position=1))) == 2


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no json": ("x", "Expecting value"),
    "no object": ("[]", "it is no JSON object"),
    "bom": ("\ufeff" + written(COPY), "Unexpected UTF-8 BOM"),
    "not utf-8": (written(COPY).encode().replace(b"notes-1", b"notes-\xff"), "is not UTF-8"),
    "not utf-8 in data": (written(COPY).encode().replace(b'"value":1', b'"value":"\xff"'), "is not UTF-8"),
    "key twice": (written(COPY).replace('"depth":2', '"depth":2,"depth":3'), "the key 'depth' comes twice"),
    "data twice": (written(COPY).replace('"depth":2', '"data":{"value":2},"depth":2'), "the key 'data' comes twice"),
    "key twice in data": (written(COPY).replace('"value":1', '"value":1,"value":2'), "the key 'value' comes twice"),
    "NaN": (written(COPY).replace('"value":1', '"value":NaN'), "NaN is no number"),
    "half a surrogate": (written(COPY).replace('"value":1', '"value":"\\ud800"'), "half a surrogate pair"),
    "half a surrogate in an id": (written(COPY).replace("m-1", "m\\udc00"), "half a surrogate pair"),
    "two objects": (written(COPY) * 2, "Extra data"),
    "deep": (written(COPY).replace('"value":1', f'"value":{"[" * 100}{"]" * 100}'), "64 levels"),
    "very deep": (written(COPY).replace('"value":1', f'"value":{"[" * 100_000}{"]" * 100_000}'), "deeper than 64"),
    "5,000 digits": (written(COPY).replace('"value":1', f'"value":{"7" * 5000}'), "more than 64 bits"),
    "too large": (written(COPY).replace('"value":1', f'"value":"{"x" * (1 << 20)}"'), "at most 1048576 are taken"),
    "no data": (changed(data=...), "'data' is no JSON object"),
    "data no object": (changed(data=[1]), "'data' is no JSON object"),
    "masked": (written(COPY, reveal=False), "its secrets are masked"),
    "another format": (changed(specversion="0.3"), "specversion"),
    "command": (changed(bus="command"), "is no event"),
    "no id": (changed(id=...), "'id' is missing"),
    "empty id": (changed(id=""), "'id' is not a text"),
    "number as id": (changed(id=7), "'id' is not a text"),
    "nul": (changed(id="a\0b"), "'id' holds a NUL"),
    "stream": (changed(stream=["a"]), "'stream' is not a text"),
    "negative": (changed(streamposition=-1), "'streamposition' is not a whole number from 0 on"),
    "true": (changed(position=True), "'position' is not a whole number"),
    "too long a number": (changed(position=2**62), "'position' is not a whole number"),
    "float": (changed(depth=1.0), "'depth' is not a whole number"),
    "version 0": (changed(version=0), "'version' is not a whole number from 1 on"),
    "future version": (changed(version=7), "was stored as version 7; this code knows version 1"),
    "year 0": (changed(time="0000-00-00T99:99:99Z"), "'time' is no moment"),
    "year 10000": (changed(time="10000-01-01T00:00:00Z"), "'time' is no moment"),
    "before 1970": (changed(time="1969-12-31T23:59:59.999999Z"), "'time' is no moment"),
    "no zone": (changed(time="2026-11-23T10:00:00.000000"), "'time' is no moment"),
    "a day": (changed(time="2026-11-23"), "'time' is no moment"),
    "headers": (changed(headers={"a": "b"}), "'headers' is not a text"),
    "headers of numbers": (changed(headers='{"a":1}'), "'headers' is not a text"),
    "headers no json": (changed(headers="a"), "'headers' is not a text"),
    "type by path": (changed(type="os.system"), "os.system"),
    "type in other case": (changed(type="noted"), "notes.noted"),
    "confusable type": (changed(type="N\u043eted"), "notes.N\u043eted"),
    "other component": (changed(component="../notes", type="../x"), "../notes.../x"),
    "payload of another shape": (changed(data={"worth": 1}), "worth: is not a field of this message"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_line_that_is_not_exactly_one_event_is_refused_with_its_number(name):
    line, problem = REFUSED[name]

    with pytest.raises(ImportFileError, match=r"^line 2: ") as caught:
        read(written(COPY), line, changed(position=2))

    assert problem in str(caught.value)
    assert len(str(caught.value)) < 600


def test_line_without_an_end_is_not_read_to_the_end():
    with pytest.raises(ImportFileError, match=f"^line 1: has more than {MAX_LINE} bytes"):
        read(b'{"specversion":"' + b"x" * (MAX_LINE + 10))


@pytest.mark.parametrize("kept", [1, 20, 100, 300, -1, -2])
def test_line_that_is_cut_off_is_refused(kept):
    with pytest.raises(ImportFileError, match=r"^line 2: is cut off"):
        read(written(COPY), changed(position=1)[:kept])


@pytest.mark.parametrize("position", [0, 1])
def test_lines_out_of_order_are_refused(position):
    with pytest.raises(ImportFileError, match=f"^line 2: has position {position}, which does not come after 1"):
        read(changed(position=1), changed(position=position))


def test_what_nobody_can_read_is_taken_on_request():
    odd = changed(type="Gone", component="lost", version=9, data={"x": [1.50]})

    assert read(odd, unreadable=True)[0].type == "Gone"


def test_payload_of_a_type_that_is_gone_is_not_shown():
    line = json.loads(written(COPY._replace(type="Gone", data=b'{"password":"planted"}'), reveal=False))

    assert "data" not in line
    assert "Gone" in line["unreadable"]
