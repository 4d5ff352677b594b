"""Plain output: lines to stdout and stderr, safe to show whatever they hold.

Results go to stdout, all else to stderr. Text that may come from data is escaped: no control
character reaches a terminal.

Draws nothing; standard library only, because the fast commands use it.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from microlith_cli.errors import OutputError

ColorChoice = Literal["auto", "always", "never"]

# C0 and C1 but for tab and newline, DEL, what reorders or hides text, line separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(slots=True)
class Settings:
    """How this process talks; `main` sets it once, from the command line.

    Attributes:
        color: Colours: when a terminal shows them, always, or never.
        verbosity: -1 quiet, 0 normal, 1 verbose.
        as_json: Results and errors are JSON, one object a line.
    """

    color: ColorChoice = "auto"
    verbosity: int = 0
    as_json: bool = False


settings = Settings()
_MARGIN = " " * 6
_NARROWEST = 20


def escape(text: str) -> str:
    r"""Show control characters instead of obeying them: ESC becomes `\x1b`. Tab and newline stay."""
    return _UNSAFE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def out(text: str) -> None:
    """Write one result to stdout. The caller has escaped what comes from data."""
    write(sys.stdout, text)


def err(text: str) -> None:
    """Write one line of progress to stderr, unless the user asked for quiet."""
    if settings.verbosity >= 0:
        write(sys.stderr, text)


def say(text: str) -> None:
    """Write one line of progress that may hold data: it is escaped here."""
    err(escape(text))


def complain(text: str) -> None:
    """Write one line of an error to stderr, quiet or not."""
    write(sys.stderr, text)


def ask(question: str) -> None:
    """Write a question to stderr; the answer is typed behind it."""
    if sys.stderr is not None:
        sys.stderr.write(question)
        sys.stderr.flush()


def complain_error(message: str, hint: str = "") -> None:
    """Write an error and what to do about it to stderr. Both are escaped here."""
    complain(f"{styled('error', '1;31', sys.stderr)} {_indented(escape(message))}")
    if hint:
        complain(f"{styled('hint', '1;36', sys.stderr)}  {_indented(escape(hint))}")


def _indented(text: str) -> str:
    """Break a text that is too long for the terminal between words, below its beginning; elsewhere it stays a line."""
    if sys.stderr is None or not sys.stderr.isatty():
        return text
    width = _columns(sys.stderr)
    if not width or len(text) <= width - len(_MARGIN):
        return text
    # For long texts at a terminal alone.
    from textwrap import wrap  # noqa: PLC0415

    room = max(_NARROWEST, width - len(_MARGIN))
    lines = (wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""] for line in text.splitlines())
    return f"\n{_MARGIN}".join(part for parts in lines for part in parts)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def out_json(value: Mapping[str, Any]) -> None:
    """Write one object as one line to stdout. Always valid JSON, and harmless on a terminal."""
    write(sys.stdout, json_line(value))


def json_line(value: Mapping[str, Any]) -> str:
    """Write one object as one line of JSON that is harmless on a terminal."""
    return harmless_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def harmless_json(text: str) -> str:
    """Escape, in JSON's own way, what JSON leaves alone and a terminal would obey. Means the same as before."""
    # JSON escapes C0 by itself.
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_shown_in_json, text)


def _shown_in_json(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def wants_color(stream: TextIO) -> bool:
    """Decide whether to use colours on a stream.

    Source: https://no-color.org
    """
    if settings.color != "auto":
        return settings.color == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def styled(text: str, code: str, stream: TextIO) -> str:
    """Wrap text in an ANSI style, such as "31" for red, where colours are wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if wants_color(stream) else text


def write(stream: TextIO | None, text: str, *, end: str = "\n") -> None:
    """Write one line to a stream, and flush. The caller has escaped what comes from data."""
    if stream is None:  # started with the descriptor closed
        return
    line = text + end
    try:
        try:
            stream.write(line)
        except UnicodeEncodeError:  # a terminal that is not UTF-8
            stream.write(line.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
        stream.flush()
    except BrokenPipeError:
        raise  # `main` leaves without a word
    except OSError as error:
        raise OutputError(error) from error
