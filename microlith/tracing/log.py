"""The trace log: facts as JSON lines in a file that is bounded and may vanish at any time.

`trace.jsonl` is written to, `trace.1.jsonl` is the one before; a writer is never stopped by a
full disk, a reader never by a torn line. Facts arrive with their secrets masked already.

Reading needs the standard library's json and nothing of a running application.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from microlith.tracing.merging import merged

CURRENT = "trace.jsonl"
PREVIOUS = "trace.1.jsonl"
LIMIT = 32 * 1024 * 1024

Fact = dict[str, Any]
Logs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""The folder of a log, or those of the logs of several processes."""

_CORRELATION = re.compile(rb'"correlationid":("(?:[^"\\]|\\.)*")')
_TIME = re.compile(rb'"time":"([^"]*)"')
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class TraceLog:
    """Writes facts. Never raises: the first error ends the log, not the application.

    Of one writer per process, one thread; several processes may write side by side.

    Attributes:
        disabled: Why nothing is written any more; empty while all is well.
        left_out: How many facts were larger than a whole file may be.
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int = LIMIT) -> None:
        self._directory = Path(directory)
        self._path = self._directory / CURRENT
        self._limit = limit_bytes
        self._descriptor = -1
        self._size = 0
        self.disabled = ""
        self.left_out = 0

    def write(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Append facts, one line each; when the file is full it becomes the previous one."""
        if self.disabled:
            return
        try:
            self._follow_the_name()
            batch = bytearray()
            for fact in facts:
                line = _line(fact)
                if len(line) > self._limit:
                    self.left_out += 1
                    continue
                if self._size + len(batch) + len(line) > self._limit:
                    self._append(batch)
                    self._rotate()
                    batch = bytearray()
                batch += line
            self._append(batch)
        except OSError as error:
            self.disabled = f"{error.filename or self._path}: {error.strerror or error}"
            self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice; the next write opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _follow_the_name(self) -> None:
        """Open the file, anew where another process has moved or removed it meanwhile."""
        if self._descriptor >= 0:
            try:
                if os.path.samestat(self._path.stat(), os.fstat(self._descriptor)):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._open()

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags, 0o600)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{self._path} is not a regular file")
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(self._descriptor, 0o600)
        self._size = found.st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # the last writer died inside a line; keep it apart from ours

    def _append(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self._size += written
            rest = rest[written:]

    def _rotate(self) -> None:
        self._path.replace(self._directory / PREVIOUS)
        self.close()
        self._open()


def remove_trace_log(directory: str | os.PathLike[str]) -> None:
    """Remove the log. Whoever writes it begins a new one."""
    for name in (CURRENT, PREVIOUS):
        Path(directory, name).unlink(missing_ok=True)


def read_facts(logs: Logs, *, newest_first: bool = False, correlation: str | None = None) -> Iterator[Fact]:
    """Read one log, or several as one, of one correlation or all; lines that are not facts are passed over.

    Reads what is there at the moment of the call. A file that is missing is an empty one.
    """
    needle = b"" if correlation is None else _bare(correlation)
    for fact in _facts(logs, needle, newest_first=newest_first):
        if correlation is None or fact.get("correlationid") == correlation:
            yield fact


def correlations(logs: Logs) -> Iterator[tuple[str, list[Fact]]]:
    """Go through the correlations, the one that began last first, each with its facts in order.

    Those whose first message is no longer in the log come at the end.
    """
    folders = _folders(logs)
    yield from _correlations(folders[0]) if len(folders) == 1 else _correlations_of_several(folders)


def _correlations(directory: Path) -> Iterator[tuple[str, list[Fact]]]:
    gathered: dict[str, list[Fact]] = {}
    done: set[str] = set()
    for fact in read_facts(directory, newest_first=True):
        identifier = fact.get("correlationid")
        if not isinstance(identifier, str) or identifier in done:
            continue
        gathered.setdefault(identifier, []).append(fact)
        if "causationid" not in fact:
            done.add(identifier)
            yield identifier, gathered.pop(identifier)[::-1]
    for identifier, facts in gathered.items():
        yield identifier, facts[::-1]


def _correlations_of_several(folders: Sequence[Path]) -> Iterator[tuple[str, list[Fact]]]:
    """Go through the correlations of several logs: any of them may hold a part of one, so all are read first.

    Lines are sorted as they are, and only those of a correlation that is wanted are decoded.
    """
    gathered: dict[bytes, list[list[bytes]]] = {}
    begun: dict[bytes, bytes] = {}
    for at, folder in enumerate(folders):
        for line in (line for text in _texts(folder, newest_first=False) for line in text.splitlines()):
            if (found := _CORRELATION.search(line)) is None:
                continue
            identifier = found[1]
            gathered.setdefault(identifier, [[] for _ in folders])[at].append(line)
            if _begins(line) and (moment := _TIME.search(line)) is not None:
                begun[identifier] = max(moment[1], begun.get(identifier, b""))
    for identifier in sorted(gathered, key=lambda each: begun.get(each, b""), reverse=True):
        logs = [[fact for line in lines if (fact := _parse(line)) is not None] for lines in gathered.pop(identifier)]
        facts = list(merged(logs))
        name = facts[0].get("correlationid") if facts else None
        if isinstance(name, str):
            yield name, [fact for fact in facts if fact.get("correlationid") == name]


def _begins(line: bytes) -> bool:
    """Whether a line tells of a message that nothing has caused; a payload may hold whatever it likes."""
    head = line.partition(b'"data":')[0]
    return b'"causationid":' not in (head if b'"bus":' in head else line)


def last_correlations(logs: Logs, n: int) -> list[tuple[str, list[Fact]]]:
    """Return the n correlations that began last, newest first, each with its facts in order."""
    return list(islice(correlations(logs), n))


def facts_holding(logs: Logs, text: str, *, newest_first: bool = False) -> Iterator[Fact]:
    """Read the facts that hold a text anywhere; the others are not even decoded."""
    return _facts(logs, _bare(text), newest_first=newest_first)


def _facts(logs: Logs, needle: bytes, *, newest_first: bool) -> Iterator[Fact]:
    each = [_facts_in(folder, needle, newest_first=newest_first) for folder in _folders(logs)]
    yield from each[0] if len(each) == 1 else merged(each, newest_first=newest_first)


def _folders(logs: Logs) -> list[Path]:
    return [Path(logs)] if isinstance(logs, str | os.PathLike) else [Path(folder) for folder in logs]


def _facts_in(directory: Path, needle: bytes, *, newest_first: bool) -> Iterator[Fact]:
    for text in _texts(directory, newest_first=newest_first):
        for line in _backward(text, needle) if newest_first else _forward(text, needle):
            fact = _parse(line)
            if fact is not None:
                yield fact


def _texts(directory: Path, *, newest_first: bool) -> Iterator[bytes]:
    """Read the two files, each when it is its turn."""
    with ExitStack() as stack:
        opened = []
        # The current one first: if it is moved in between, it is opened twice and never lost.
        for name in (CURRENT, PREVIOUS):
            with suppress(FileNotFoundError):
                opened.append(stack.enter_context(Path(directory, name).open("rb")))
        if len(opened) > 1 and os.path.samestat(*(os.fstat(file.fileno()) for file in opened)):
            del opened[1]
        for file in opened if newest_first else reversed(opened):
            yield file.read()


def _forward(text: bytes, needle: bytes) -> Iterator[bytes]:
    """Cut out the lines that hold some bytes, from the first on; without decoding the others."""
    start = 0
    while (found := text.find(needle, start)) >= 0:
        begin = text.rfind(b"\n", start, found) + 1 or start
        end = text.find(b"\n", found)
        end = len(text) if end < 0 else end
        yield text[begin:end]
        start = end + 1


def _backward(text: bytes, needle: bytes) -> Iterator[bytes]:
    """Cut out the lines that hold some bytes, from the last on."""
    end = len(text)
    while end > 0 and (found := text.rfind(needle, 0, end)) >= 0:
        begin = text.rfind(b"\n", 0, found) + 1
        stop = text.find(b"\n", found, end)
        yield text[begin : end if stop < 0 else stop]
        end = begin - 1


def _parse(line: bytes) -> Fact | None:
    try:
        fact = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fact if isinstance(fact, dict) else None


def _line(fact: Mapping[str, Any]) -> bytes:
    """Write a fact as one line of ASCII; what is not JSON is replaced by the reason."""
    try:
        text = _encode(fact)
    except (TypeError, ValueError, RecursionError) as error:
        plain = {key: value for key, value in fact.items() if isinstance(value, str | int)}
        text = _encode({**plain, "data": {"unwritable": f"{type(error).__name__}: {error}"}})
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _bare(text: str) -> bytes:
    """Return the bytes of a text as they stand in the log, without quotes."""
    return _line({"": text})[len('{"":"') : -len('"}\n')]
