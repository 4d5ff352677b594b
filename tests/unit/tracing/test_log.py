"""The trace log as a file: what is written is read, whatever happens to it in between."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from itertools import count

import pytest

from microlith.tracing.log import CURRENT, PREVIOUS, TraceLog, read_facts

_numbers = count(1)


def fact(correlation: str = "c1", **more: object) -> dict[str, object]:
    return {"id": f"m{next(_numbers)}", "type": "Ping", "correlationid": correlation, "data": {}, **more}


def test_log_gives_back_what_was_written_oldest_first(tmp_path):
    log = TraceLog(tmp_path)
    facts = [fact(), fact(data={"name": "é\n\x00", "n": 1.5}), fact()]

    log.write(facts[:2])
    log.write(facts[2:])

    assert list(read_facts(tmp_path)) == facts
    assert list(read_facts(tmp_path, newest_first=True)) == facts[::-1]


def test_log_of_nothing_is_empty(tmp_path):
    assert list(read_facts(tmp_path)) == []
    assert list(read_facts(tmp_path / "missing", newest_first=True)) == []


def test_log_is_for_this_user_only(tmp_path):
    before = os.umask(0)
    try:
        TraceLog(tmp_path / "made").write([fact()])
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "made" / CURRENT).stat().st_mode) == 0o600


def test_log_that_others_could_read_is_closed_to_them(tmp_path):
    (tmp_path / CURRENT).touch(0o644)

    TraceLog(tmp_path).write([fact()])

    assert stat.S_IMODE((tmp_path / CURRENT).stat().st_mode) == 0o600


def test_full_log_becomes_the_previous_one_and_none_is_larger_than_the_limit(tmp_path):
    log = TraceLog(tmp_path, limit_bytes=1000)
    facts = [fact(data="x" * 100) for _ in range(40)]

    for each in facts:
        log.write([each])

    kept = list(read_facts(tmp_path))
    assert 0 < (tmp_path / CURRENT).stat().st_size <= 1000
    assert 500 < (tmp_path / PREVIOUS).stat().st_size <= 1000
    assert kept == facts[-len(kept) :]
    assert list(read_facts(tmp_path, newest_first=True)) == kept[::-1]


def test_batch_larger_than_a_file_is_cut_between_facts(tmp_path):
    log = TraceLog(tmp_path, limit_bytes=1000)
    facts = [fact(data="x" * 100) for _ in range(40)]

    log.write(facts)

    kept = list(read_facts(tmp_path))
    assert (tmp_path / CURRENT).stat().st_size <= 1000
    assert (tmp_path / PREVIOUS).stat().st_size <= 1000
    assert kept == facts[-len(kept) :]


def test_fact_larger_than_a_file_is_left_out_and_counted(tmp_path):
    log = TraceLog(tmp_path, limit_bytes=1000)
    small = fact()

    log.write([fact(data="x" * 2000), small])

    assert list(read_facts(tmp_path)) == [small]
    assert log.left_out == 1


@pytest.mark.parametrize("torn", [b"", b"{", b'{"id":"m', b'{"id":"m1","type":"P\xc3', b"\x00\x00\x00", b"[1]", b"7"])
def test_torn_last_line_is_passed_over_and_kept_apart_from_the_next(tmp_path, torn):
    first, second = fact(), fact()
    TraceLog(tmp_path).write([first])
    with (tmp_path / CURRENT).open("ab") as file:
        file.write(torn)

    assert list(read_facts(tmp_path)) == [first]
    TraceLog(tmp_path).write([second])

    assert list(read_facts(tmp_path)) == [first, second]


def test_line_that_cannot_be_decoded_is_passed_over(tmp_path):
    first, second = fact(), fact()
    TraceLog(tmp_path).write([first])
    with (tmp_path / CURRENT).open("ab") as file:
        file.write(b'{"n":' + b"9" * 5000 + b"}\n" + b"[" * 100_000 + b"\n\xff\xfe\n\n\n")
    TraceLog(tmp_path).write([second])

    assert list(read_facts(tmp_path)) == [first, second]


def test_log_holds_printable_ascii_only(tmp_path):
    hostile = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x2028, 0xD800, 0xFEFF]))

    TraceLog(tmp_path).write([fact(data={hostile: hostile})])

    raw = (tmp_path / CURRENT).read_bytes()
    assert set(raw) - {0x0A} <= set(range(0x20, 0x7F))
    assert raw.count(b"\n") == 1
    assert [each["data"] for each in read_facts(tmp_path)] == [{hostile: hostile}]


@pytest.mark.parametrize("data", [float("nan"), {"x": object()}, {(1, 2): 3}, [b"bytes"]])
def test_fact_that_is_not_json_is_written_without_its_data(tmp_path, data):
    log = TraceLog(tmp_path)

    log.write([fact(id="odd", data=data), fact(id="even")])

    odd, even = read_facts(tmp_path)
    assert odd["id"] == "odd"
    assert "unwritable" in odd["data"]
    assert even["id"] == "even"
    assert log.disabled == ""


def test_log_without_end_in_itself_is_written_without_its_data(tmp_path):
    endless: list[object] = []
    endless.append(endless)

    TraceLog(tmp_path).write([fact(data=endless)])

    assert "unwritable" in next(read_facts(tmp_path))["data"]


def test_log_is_opened_again_when_its_file_was_removed(tmp_path):
    log = TraceLog(tmp_path)
    log.write([fact()])
    (tmp_path / CURRENT).unlink()
    after = fact()

    log.write([after])

    assert list(read_facts(tmp_path)) == [after]


def test_two_writers_of_one_log_lose_nothing_when_one_of_them_rotates(tmp_path):
    old, new = TraceLog(tmp_path, limit_bytes=1000), TraceLog(tmp_path, limit_bytes=1000)
    old.write([fact(data="x" * 800)])
    facts = [fact(data="x" * 300) for _ in range(3)]

    new.write(facts[:1])
    old.write(facts[1:2])
    new.write(facts[2:])

    assert list(read_facts(tmp_path))[-3:] == facts


def test_reader_keeps_what_is_rotated_away_while_it_reads(tmp_path):
    log = TraceLog(tmp_path, limit_bytes=1000)
    facts = [fact(data="x" * 300) for _ in range(4)]
    log.write(facts)
    reading = read_facts(tmp_path)
    first = next(reading)

    log.write([fact(data="x" * 300) for _ in range(8)])

    assert [first, *reading] == facts


def test_reading_while_another_writes_gives_whole_facts_only(tmp_path):
    facts = [fact(data="x" * 50) for _ in range(3000)]
    log = TraceLog(tmp_path)

    def write_one_by_one() -> None:
        for each in facts:
            log.write([each])

    writing = threading.Thread(target=write_one_by_one)

    writing.start()
    seen = 0
    while writing.is_alive():
        read = list(read_facts(tmp_path))
        assert read == facts[: len(read)]
        assert len(read) >= seen
        seen = len(read)
    writing.join()

    assert list(read_facts(tmp_path)) == facts


def test_only_the_facts_of_one_correlation_are_read_when_asked(tmp_path):
    facts = [fact("aaaa-1"), fact("bbbb-2"), fact("aaaa-1"), fact("aaaa-12"), fact("c", data={"x": "aaaa-1"})]
    TraceLog(tmp_path).write(facts)

    assert list(read_facts(tmp_path, correlation="aaaa-1")) == [facts[0], facts[2]]
    assert list(read_facts(tmp_path, correlation="aaaa-1", newest_first=True)) == [facts[2], facts[0]]
    assert list(read_facts(tmp_path, correlation="aaaa")) == []


@pytest.mark.parametrize(
    "identifier", ['quote"', "line\nbreak", "back\\slash", "é", "*", "%", "", "x" * 10_000, "\ud800"]
)
def test_correlation_id_may_be_any_text(tmp_path, identifier):
    mine, other = fact(identifier), fact("other")
    TraceLog(tmp_path).write([mine, other])

    assert list(read_facts(tmp_path, correlation=identifier)) == [mine]


class TestWriteErrors:
    """An error ends the log and nothing else."""

    def test_directory_that_is_a_file_disables_the_log(self, tmp_path):
        (tmp_path / "file").touch()
        log = TraceLog(tmp_path / "file")

        log.write([fact()])
        reason = log.disabled
        log.write([fact()])

        assert os.strerror(errno.EEXIST) in reason or os.strerror(errno.ENOTDIR) in reason
        assert log.disabled == reason

    def test_link_in_the_place_of_the_log_is_not_followed(self, tmp_path):
        target = tmp_path / "target"
        target.write_text("mine\n", "utf-8")
        (tmp_path / CURRENT).symlink_to(target)
        log = TraceLog(tmp_path)

        log.write([fact()])

        assert log.disabled
        assert target.read_text("utf-8") == "mine\n"

    def test_pipe_in_the_place_of_the_log_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / CURRENT)
        log = TraceLog(tmp_path)

        log.write([fact()])

        assert "not a regular file" in log.disabled

    def test_full_disk_disables_the_log_and_keeps_what_is_in_it(self, tmp_path):
        script = (
            "import resource, signal, sys; from microlith.tracing.log import TraceLog\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "log = TraceLog(sys.argv[1])\n"
            "for n in range(100): log.write([{'id': f'm{n}', 'data': 'x' * 100}])\n"
            "print(log.disabled)"
        )

        said = run_python(script, os.fspath(tmp_path))

        ids = [each["id"] for each in read_facts(tmp_path)]
        assert os.strerror(errno.EFBIG) in said
        assert len(ids) >= 6
        assert ids == [f"m{n}" for n in range(len(ids))]


def run_python(script: str, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return ended.stdout


def test_reading_needs_no_heavy_library():
    heavy = {"asyncio", "pydantic", "pydantic_core", "sqlite3", "rich"}

    loaded = run_python("import sys, microlith.tracing.log; print(*sys.modules)").split()

    assert not heavy & set(loaded)


def test_one_correlation_in_64_mib_is_found_without_decoding_the_rest(tmp_path):
    line = json.dumps(fact("0" * 36, data={"x": "y" * 300})).encode() + b"\n"
    wanted = fact("1" * 36)
    for name in (PREVIOUS, CURRENT):
        (tmp_path / name).write_bytes(line * (32 * 1024 * 1024 // len(line)))
    TraceLog(tmp_path, limit_bytes=2**30).write([wanted])

    started = os.times().user
    found = list(read_facts(tmp_path, correlation="1" * 36))

    assert found == [wanted]
    assert os.times().user - started < 0.5
