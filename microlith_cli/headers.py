"""Headers that a message is given on the command line: `--header NAME=VALUE`, `NAME=@FILE`, `NAME=-`.

What is secret need not stand in the arguments, which everybody on the machine can read: it comes from a file, from
stdin, or is asked for at a terminal.

Knows no header by its meaning.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from microlith_cli.console import plain
from microlith_cli.errors import UsageError
from microlith_cli.filling import ask_hidden, somebody_is_there

_NAME = re.compile(r"[!-<>-~]{1,100}")
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
LONGEST = 8192
"""Bytes of a value; headers are stored with the message and with all that it causes."""
MOST = 32


def read_headers(given: Sequence[str], *, data: str | None = None) -> dict[str, str]:
    """Read the headers of a message.

    Args:
        given: Each as typed.
        data: What is given for the payload; stdin can be read for one of the two alone.

    Raises:
        UsageError: One has no name, comes twice, cannot be read, or has a value that is no line of text.
        KeyboardInterrupt: Somebody was asked, and there will be no answer.
    """
    if len(given) > MOST:
        raise UsageError(f"--header was given {len(given)} times; at most {MOST} are taken.")
    headers: dict[str, str] = {}
    for word in given:
        name, joined, value = word.partition("=")
        if not joined or not _NAME.fullmatch(name):
            # What was given is not quoted: it may be a secret, written in another tool's way.
            raise UsageError(
                "--header takes NAME=VALUE, with a name of letters, digits and marks.",
                hint="Such as --header principal=user-7.",
            )
        if name in headers:
            raise UsageError(f"--header {name} was given twice.")
        if value == "-":
            if data == "-" or any(other.endswith("=-") for other in given if other is not word):
                raise UsageError("stdin is read once.", hint=f"Give {name} as --header {name}=@FILE.")
            value = _asked(name)
        elif value.startswith("@"):
            value = _of_file(name, value[1:])
        else:
            _warn_of(name)
        headers[name] = _fit(name, value)
    return headers


def _asked(name: str) -> str:
    if somebody_is_there():
        return ask_hidden(f"{name}: ")
    return _text(name, sys.stdin.buffer.readline(LONGEST + 2))


def _of_file(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return _text(name, file.read(LONGEST + 2))
    except OSError as error:
        raise UsageError(f"--header {name}=@{path}: {error.strerror}.") from error


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"The header {name} is not UTF-8 at byte {error.start}.") from None


def _fit(name: str, value: str) -> str:
    """Check a value; errors do not quote it, for it may be a secret."""
    if not value:
        raise UsageError(f"The header {name} is empty.")
    if _UNFIT.search(value):
        raise UsageError(f"The header {name} is not one line of text.")
    if len(value.encode()) > LONGEST:
        raise UsageError(f"The header {name} has more than {LONGEST} bytes.")
    return value


def _warn_of(name: str) -> None:
    # Only for whoever gives a header.
    from microlith.payloads import is_secret_name  # noqa: PLC0415

    if is_secret_name(name):
        plain.say(f"{name} stands in the arguments, where others can read it; {name}=@FILE and {name}=- keep it out")
