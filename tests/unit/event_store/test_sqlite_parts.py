"""The parts of the SQLite store that can be looked at alone."""

import asyncio
import re
import sqlite3
import threading

import pytest

from microlith.errors import CorruptionError, StoreUnavailableError, UnknownOutcomeError
from microlith.event_store.database.codec import NO_CHECKSUM, ChainCheck, chained
from microlith.event_store.database.handover import HandOver
from microlith.event_store.database.statements import statements
from microlith.event_store.records import StoredType
from microlith.event_store.sqlite import connection, mark
from microlith.event_store.sqlite.connection import judge
from microlith.event_store.sqlite.mark import Mark
from microlith.event_store.sqlite.session import SQLiteSession


@pytest.fixture
def session(tmp_path):
    database = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    for name, text in statements("sqlite_schema.sql").items():
        if name.startswith("create_"):
            database.execute(text)
    yield SQLiteSession(database, tmp_path / "events.db")
    database.close()


@pytest.mark.parametrize("file", ["sqlite_reading.sql", "sqlite_writing.sql"])
def test_every_statement_fits_the_schema(session, file):
    for name, text in statements(file).items():
        columns = text.partition("(")[2].partition(")")[0].count(",") + 1
        filled = text.replace("{rows}", f"({', '.join('?' * columns)})")
        numbered = [int(number) for number in re.findall(r"\?(\d+)", filled)]

        assert session.run(f"EXPLAIN {filled}", [None] * max(numbered, default=filled.count("?"))), name


@pytest.mark.parametrize("rows", [1, 2, 3, 255, 256, 257, 1000])
def test_many_rows_are_inserted_in_order(session, rows):
    values = [value for number in range(rows) for value in (f"handler {number:04}", number)]

    session.insert("upsert_checkpoints", values, 2)

    assert session.named("select_checkpoints") == [(f"handler {number:04}", number) for number in range(rows)]


def test_transaction_that_fails_leaves_nothing(session):
    def work():
        session.named("insert_checkpoint", "a.b", 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        session.transact(work)

    assert session.named("select_checkpoints") == []


def error_of(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


@pytest.mark.parametrize(
    ("name", "phase", "meaning", "usable"),
    [
        ("SQLITE_FULL", "write", StoreUnavailableError, True),
        ("SQLITE_FULL", "commit", StoreUnavailableError, True),
        ("SQLITE_BUSY", "begin", StoreUnavailableError, True),
        ("SQLITE_IOERR_FSYNC", "commit", UnknownOutcomeError, False),
        ("SQLITE_IOERR_WRITE", "commit", UnknownOutcomeError, False),
        ("SQLITE_IOERR_READ", "write", StoreUnavailableError, False),
        ("SQLITE_CORRUPT", "write", CorruptionError, False),
        ("SQLITE_CORRUPT", "commit", UnknownOutcomeError, False),
    ],
)
def test_error_says_what_became_of_the_messages(tmp_path, name, phase, meaning, usable):
    error, may_go_on = judge(error_of(name), phase, tmp_path / "events.db")

    assert (type(error), may_go_on) == (meaning, usable)


def test_error_of_a_read_quotes_nothing():
    error = sqlite3.OperationalError("Could not decode to UTF-8 column 'data' with text 'my password'")

    assert connection.damage_in(error) == "a text in it is not UTF-8"


async def taken_by_thread(handover, batches, count):
    def take():
        for _ in range(count):
            batches.append(handover.take())

    thread = threading.Thread(target=take)
    thread.start()
    await asyncio.to_thread(thread.join, 5)


async def test_what_is_put_in_one_turn_is_handed_over_together():
    handover: HandOver[int] = HandOver(asyncio.get_running_loop())
    batches: list[list[int]] = []

    for number in range(10):
        handover.put(number)
    waiting = handover.waiting
    await taken_by_thread(handover, batches, 1)
    handover.note_taken(10)

    assert batches == [list(range(10))]
    assert (waiting, handover.waiting) == (10, 0)


async def test_patient_items_go_with_the_next_hurried_one_in_order():
    handover: HandOver[str] = HandOver(asyncio.get_running_loop())
    batches: list[list[str]] = []

    handover.put_patiently("first")
    handover.put_patiently("second")
    handover.put("third")
    await taken_by_thread(handover, batches, 1)

    assert batches == [["first", "second", "third"]]


async def test_patient_items_do_not_wait_for_ever():
    handover: HandOver[str] = HandOver(asyncio.get_running_loop())
    batches: list[list[str]] = []

    handover.put_patiently("alone")
    await taken_by_thread(handover, batches, 1)

    assert batches == [["alone"]]


async def test_item_handed_over_at_once_takes_the_others_along():
    handover: HandOver[str] = HandOver(asyncio.get_running_loop())

    handover.put("first")
    handover.put_at_once("second")

    assert handover.take() == ["first", "second"]


def test_chain_notices_a_part_that_moved():
    stored = StoredType(1, "a", "Happened", 1)
    parts = [stored.words, b"head 0", b"data 0", stored.words, b"head 1", b"data 1"]
    chain = ChainCheck()
    chain.add(0, stored, b"head 0", b"data 0", b"")
    assert not chain.whole
    chain.add(1, stored, b"head 1", b"data 1", chained(NO_CHECKSUM, parts))
    assert chain.whole

    swapped = ChainCheck()
    swapped.add(0, stored, b"head 1", b"data 1", b"")
    with pytest.raises(CorruptionError, match="position 1"):
        swapped.add(1, stored, b"head 0", b"data 0", chained(NO_CHECKSUM, parts))


@pytest.fixture
def marked(tmp_path):
    opened = Mark(tmp_path / "events.db")
    yield opened
    opened.close()


def test_mark_refuses_a_log_that_ends_before_it(marked, tmp_path):
    marked.note(41, 7)
    again = Mark(tmp_path / "events.db")

    again.check(41, 7)
    again.check(50, 9)
    for head, sequence in ((40, 7), (41, 6)):
        with pytest.raises(CorruptionError, match=r"events\.db\.mark"):
            again.check(head, sequence)
    again.close()


def test_mark_is_not_believed_after_the_machine_was_started_again(marked, tmp_path, monkeypatch):
    marked.note(41, 7)
    boot = tmp_path / "boot_id"
    boot.write_text("another boot", "ascii")
    monkeypatch.setattr(mark, "_BOOT", boot)

    later = Mark(tmp_path / "events.db")

    later.check(-1, 0)
    later.close()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 300, b"a 1 2 00000000"])
def test_mark_that_makes_no_sense_is_not_believed(tmp_path, content):
    (tmp_path / "events.db.mark").write_bytes(content)

    opened = Mark(tmp_path / "events.db")

    opened.check(-1, 0)
    opened.close()


def test_forgotten_mark_is_not_believed(marked):
    marked.note(41, 7)

    marked.forget()

    marked.check(-1, 0)
