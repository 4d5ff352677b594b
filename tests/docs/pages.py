"""The pages of the documentation, taken apart: fenced blocks, shell commands, links.

Reads Markdown as far as these pages use it: fences at the left margin, links in one line. Runs nothing.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.meta.tree import ROOT

FENCE = re.compile(r"^```(?P<language>[a-z]*)$")
LINK = re.compile(r"(?<!!)\[[^]\n]+\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<title>.+)$")
PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line of the page (from 1) that its text begins on."""

    page: Path
    language: str
    text: str
    line: int
    end: int

    @property
    def file(self) -> str:
        """The file it is shown as, when its first line is a comment with a path; otherwise empty."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("# ") if re.fullmatch(r"# [\w/]+\.py", first) else ""


def pages() -> list[Path]:
    """The README and everything below docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shown(page: Path) -> str:
    """A page the way a person names it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in order; all of them, or those in some languages."""
    found: list[Block] = []
    inside: str | None = None
    lines: list[str] = []
    begin = 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            inside, lines, begin = fence["language"], [], number + 1
        elif inside is not None and line == "```":
            if not languages or inside in languages:
                found.append(Block(page, inside, "\n".join(lines) + "\n", begin, number))
            inside = None
        elif inside is not None:
            lines.append(line)
    assert inside is None, f"{shown(page)}: a block is not closed"
    return found


def python_blocks(page: Path) -> list[tuple[Block, str | None]]:
    """The Python blocks that run where they stand, each with what it prints: the text block right after it, or None."""
    text = page.read_text("utf-8").splitlines()
    printed = {block.line: block.text for block in blocks(page, "text")}
    found: list[tuple[Block, str | None]] = []
    for block in blocks(page, "python"):
        if not block.file:
            after = next((n for n in range(block.end + 1, len(text) + 1) if text[n - 1].strip()), len(text) + 1)
            found.append((block, printed.get(after + 1)))
    return found


def shell_commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Each command after a prompt, with its line; continued lines are joined, comments and `&&` taken apart."""
    for block in blocks(page, "console"):
        for offset, line in enumerate(re.sub(r"\\\n *", "", block.text).splitlines()):
            if line.startswith(PROMPT):
                words = shlex.split(line.removeprefix(PROMPT), comments=True)
                while "&&" in words:
                    yield block.line + offset, words[: words.index("&&")]
                    words = words[words.index("&&") + 1 :]
                yield block.line + offset, words


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links, outside code."""
    for line in prose(page):
        for match in LINK.finditer(line):
            yield match["target"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the code hosts make them."""
    titles = (match["title"] for line in prose(page) if (match := HEADING.match(line)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def prose(page: Path) -> Iterator[str]:
    """The lines of a page that are in no fenced block."""
    inside = False
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield line


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, cells stripped, without its head."""
    rows: list[list[str]] = []
    reached = False
    for line in prose(page):
        if match := HEADING.match(line):
            if reached and rows:
                break
            reached = match["title"] == heading or (reached and not rows)
        elif reached and line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
        elif rows:
            break
    assert rows, f"{shown(page)}: no table below {heading!r}"
    return rows[2:]
