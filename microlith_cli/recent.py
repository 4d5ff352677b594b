"""Ids of what happened lately, as completion offers them: from the end of the trace log, which the running process writes.

Every press of the key starts a process, so nothing is imported that could be left out: lines are searched, not decoded.
What has been tried again or cancelled since is offered, too.
"""

import os
import re
from collections.abc import Iterator

TRACE = "trace.jsonl"
OFFERED = 20
"""As many ids are offered."""
_READ = 256 * 1024
"""Bytes at the end of the log that are looked at."""
_SHORT = 8
"""Characters of a short id: the last ones of an id."""

_ID = re.compile(rb'"id":"([0-9a-f-]{36})"')
_TYPE = re.compile(rb'"type":"([\w.]{1,100})"')
_MESSAGE = re.compile(rb'"message":"([\w.]{1,100})"')
_MESSAGE_ID = re.compile(rb'"messageid":"([0-9a-f-]{36})"')
_CAUSE = re.compile(rb'.*"causationid":"([0-9a-f-]{36})"', re.DOTALL)  # the last one: data comes before it
_POSITION = re.compile(rb'"position":(\d{1,18})\b')
_DATA = b'"data":'

Found = tuple[str, str]
"""A word, and what it stands for."""


def correlations(state: str) -> Iterator[Found]:
    """Yield the short ids of the newest correlations, each with the type of its first message."""
    for line in _newest(state):
        head = line.partition(_DATA)[0]
        if b'"bus":' in head and b'"causationid":' not in head:
            yield from _found(_ID.search(head), _TYPE.search(head))


def events(state: str) -> Iterator[Found]:
    """Yield the positions of the newest events, each with its type."""
    for line in _newest(state):
        head = line.partition(_DATA)[0]
        position, name = _POSITION.search(head), _TYPE.search(head)
        if b'"bus":"event"' in head and position and name:
            yield position[1].decode(), name[1].decode()


def failed(state: str) -> Iterator[Found]:
    """Yield the short ids of the messages that failed lately, each with its type."""
    for line in _newest(state):
        if b'"type":"microlith.handled"' in line and (b'"outcome":"failed"' in line or b'"outcome":"timeout"' in line):
            yield from _found(_CAUSE.match(line), _MESSAGE.search(line))


def scheduled(state: str) -> Iterator[Found]:
    """Yield the short ids of the messages that were scheduled lately, each with its type."""
    for line in _newest(state):
        if b'"type":"microlith.scheduled"' in line:
            yield from _found(_MESSAGE_ID.search(line), _MESSAGE.search(line))


def _found(identifier: "re.Match[bytes] | None", name: "re.Match[bytes] | None") -> Iterator[Found]:
    if identifier is not None and name is not None:
        yield identifier[1].decode()[-_SHORT:], name[1].decode()


def _newest(state: str) -> Iterator[bytes]:
    """Yield lines from the end of the trace log, the newest first; none when there is none."""
    try:
        with open(os.path.join(state, TRACE), "rb") as file:  # noqa: PTH118, PTH123 (pathlib takes 10 ms to import)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _READ))
            text = file.read(_READ)
    except OSError:
        return
    lines = text.split(b"\n")
    # The first may be the rest of a line, and the last one unfinished.
    yield from reversed(lines[1 if size > _READ else 0 : -1])
