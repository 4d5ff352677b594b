"""A script: the lines of a shell from a file or a pipe, one command a line.

It stops at the first line that fails, with its exit code. Commands have nothing to read, for what there is to
read are the next lines.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from microlith_cli.console import plain
from microlith_cli.errors import DONE, INTERRUPTED, SAID_NO, UsageError
from microlith_cli.main import fail
from microlith_cli.plurals import plural
from microlith_cli.shell.running import Lines

_LONGEST = 4 << 20
"""Bytes of a line: a payload may have one MiB, and quotes make it longer."""


def run_script(lines: Lines, *, keep_going: bool) -> int:
    """Run the lines of stdin; returns the exit code.

    With `keep_going` that is 0 when all went well, the one code of all that did not, or 1 when there are several.
    """
    codes: Counter[int] = Counter()
    done = 0
    with _own_stdin() as script:
        for number, raw in _commands(script):
            code = _run_one(lines, raw)
            done += code == DONE
            if code != DONE:
                codes[code] += 1
                _tell(number, code, done, stops=not keep_going or code == INTERRUPTED)
                if not keep_going or code == INTERRUPTED:
                    return code
            if lines.over:
                break
    return DONE if not codes else next(iter(codes)) if len(codes) == 1 else SAID_NO


def _run_one(lines: Lines, raw: bytes) -> int:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError:
        return fail(UsageError("A line of the script is not UTF-8."))
    if len(raw) > _LONGEST:
        return fail(UsageError(f"A line of the script has more than {_LONGEST} bytes."))
    return lines.run(line)


def _tell(number: int, code: int, done: int, *, stops: bool) -> None:
    before = f"; {plural(done, 'command')} before it went well" if stops else ""
    plain.err(f"{'stopped at' if stops else 'failed in'} line {number} with exit code {code}{before}")


def _commands(script: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each command with the number of its first line. A backslash at the end goes on in the next line."""
    begun, gathered = 0, b""
    for number, line in enumerate(iter(lambda: _line(script), b""), 1):
        begun = begun or number
        text = line.rstrip(b"\r\n")
        if text.endswith(b"\\") and not gathered.lstrip().startswith(b"#"):
            gathered += text[:-1]
            continue
        command = (gathered + text).removeprefix(b"\xef\xbb\xbf").strip()
        if command and not command.startswith(b"#"):
            yield begun, command
        begun, gathered = 0, b""
    if gathered.strip():
        yield begun, gathered


def _line(script: BinaryIO) -> bytes:
    """Read one line; of one that is too long, so much that this can be seen."""
    line = script.readline(_LONGEST + 2)
    more = line
    while len(more) > _LONGEST and not more.endswith(b"\n"):
        more = script.readline(_LONGEST + 2)
        if not more:
            break
    return line


@contextmanager
def _own_stdin() -> Iterator[BinaryIO]:
    """Take stdin for the script alone, and give the commands an empty one."""
    descriptor = sys.stdin.fileno()
    own = os.dup(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
    with os.fdopen(own, "rb") as script:
        try:
            yield script
        finally:
            os.dup2(own, descriptor)
