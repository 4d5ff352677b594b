"""Text and values that have broken terminals, parsers and templates elsewhere; and what must never reach a terminal."""

import re
from typing import Any

_COMBINING = "".join(map(chr, range(0x300, 0x34F)))

TEXTS = {
    "clear screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;https://example.org\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "device control": "\x1bP+q544e\x1b\\",
    "8-bit control sequence": "\x9b31mred\x9b0m",
    "carriage return": "harmless\rEVIL",
    "backspaces": "evil\x08\x08\x08\x08good",
    "bell": "\x07\x07\x07",
    "vertical moves": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "line breaks": "one\ntwo\r\nthree\n\n",
    "tabs": "a\tb\t\tc",
    "right to left": "\u202eexe.gpj\u202c",
    "isolates": "\u2066a\u2067b\u2068c\u2069d\u200e\u200f\u061c",
    "zero width": "a\u200bb\u2060c\ufeffd",
    "joiners": "a\u200db\u200cc" + "\u200d" * 500,
    "combining flood": "a" + _COMBINING * 40 + "b",
    "tags": "\U000e0041\U000e0042\U000e007f",
    "wide": "漢字" * 100,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 20,
    "rich markup": "[/red][bold][link=https://example.org]x[/link]",
    "lone surrogates": "\ud800x\udfff",
    "null": "a\x00b",
    "byte order mark": "\ufeffx",
    "delete": "a\x7fb",
    "format strings": "{0.__class__} %s%n {{7*7}} ${HOME} `id` $(id)",
    "mermaid": "end\nloop x\n->>p0: x; #35; %% c",
    "spreadsheet": "=cmd|' /C calc'!A0",
    "markup": "<script>alert(1)</script>&amp;",
    "quotes": '"\'\\"',
    "long": "x" * 100_000,
    "long words": "word " * 20_000,
    "empty": "",
    "spaces": "   ",
    "dates": "0000-00-00T99:99:99Z",
    "far date": "9999-12-31T23:59:59.999999Z",
    "wildcards": "*%_?[!a]",
}
VALUES: dict[str, Any] = {
    **TEXTS,
    "large number": 2**63,
    "small number": -(2**63) - 1,
    "huge float": 1e308,
    "minus zero": -0.0,
    "no object": None,
    "true": True,
    "deep": None,
    "many keys": {f"k{n}": n for n in range(10_000)},
    "many items": list(range(10_000)),
    "odd keys": {"\x1b[2J": 1, "a\nb": 2, "": 3, "__class__": 4, "__proto__": {"x": 5}},
}
for _ in range(65):
    VALUES["deep"] = [{"x\x1b": VALUES["deep"]}]

# All that moves a cursor, hides or reorders text: C0 but the line break, DEL, C1, direction marks, invisible
# characters, line separators, surrogates, tags.
UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
STYLE = re.compile("\x1b\\[[0-9;]*m")
"""The escape sequences that the console itself writes."""


def unsafe_in(shown: str) -> list[str]:
    """What must not reach a terminal, the console's own colours aside."""
    return UNSAFE.findall(STYLE.sub("", shown))
