"""Takes a picture of each screen of the tool in a real terminal and writes them down: `python -m tests.docs.screens`.

`docs/screens.md` has them as text; `docs/screens/*.ansi` in colour, for `cat`. Read what has changed before you commit it.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docs.tour import steady
from tests.meta.tree import ROOT
from tests.tmux import Tmux, plain_environment

PAGE = ROOT / "docs" / "screens.md"
COLOURED = ROOT / "docs" / "screens"
WIDTHS = (80, 140)
ROWS = 90
WELCOME = '''\
"""Welcome whoever has registered."""

import asyncio

from microlith import Event
from shop.auth import auth
from shop.auth.events.user_registered import UserRegisteredEvent


class WelcomeSentEvent(Event):
    """A welcome was sent to a new user."""

    user_id: str


@auth.handles(UserRegisteredEvent)
async def welcome(event: UserRegisteredEvent) -> WelcomeSentEvent:
    await asyncio.sleep(0.2)
    if event.email.endswith(".invalid"):
        raise LookupError(f"nobody takes mail for {event.email}")
    return WelcomeSentEvent(user_id=str(event.user_id))
'''
REGISTER = "microlith dispatch RegisterCommand --password geheim-geheim --role user --email"
SCREENS = (
    ("The help of a message", "microlith dispatch RegisterCommand --help"),
    ("A dispatch that waits", f"{REGISTER} ann@example.org --wait WelcomeSentEvent"),
    ("Another one, to compare it with", f"{REGISTER} bob@example.org --wait WelcomeSentEvent"),
    ("One that fails", f"{REGISTER} eve@mail.invalid --wait WelcomeSentEvent"),
    ("One that runs out of time", "microlith dispatch LogoutCommand --sid 1 --wait UserLoggedOutEvent --timeout 300ms"),
    ("The newest correlations", "sleep 0.5; microlith trace"),
    ("A tree", "microlith trace @-2"),
    ("A tree with a failure", "microlith trace @failed"),
    ("What differs between two traces", "microlith trace diff @-3 @-2"),
    ("What there is", "microlith list"),
    ("One message", "microlith describe RegisterCommand"),
    ("Dead letters", "microlith dead-letters list"),
    ("Projections rebuilt", "microlith replay projection --all"),
    ("What is wrong", "microlith doctor"),
)
INTRODUCTION = """\
# Screens

What the tool shows in a terminal, 80 and 140 columns wide: a new application (`microlith new app shop`) to which a handler was
added that welcomes new users, and fails for some. In colour they are in `docs/screens/`: `cat docs/screens/80.ansi`.
`python -m tests.docs.screens` takes them again, and a test compares them; ids, times and durations may differ.
"""


# What differs from machine to machine, and how the page has it: a SQLite without known faults.
HERE = (
    (re.compile(r"SQLite \d[\d.]+(\s\(before[^)]*\))?"), "SQLite 3.51.3"),
    (re.compile(r"(ML009 )\w+(: SQLite 3.51.3)[^[]*?(?=\nML010)"), r"\1ok\2"),
)
# What differs from run to run, beside what tours know.
VARYING = (
    (re.compile(r"ML001 .*(?:\n[^M].*)*"), "ML001"),
    (re.compile(r"ML020 .*(?:\n[^M].*)*"), "ML020"),
    (re.compile(r"(?ms)^The event loop was blocked.{0,160}?thread\.\n"), ""),  # where others keep the processor busy
    (re.compile(r"process \d+ since .*, generation"), "process since, generation"),
    (re.compile(r"\d[\d.]* [KM]iB"), "SIZE"),
    (re.compile(r"SIZE\n\["), "SIZE ["),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"(?m)\S*…$"), "…"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "MOMENT"),
    (re.compile(r"(?m)^.*  slower .*\n"), ""),
    (re.compile(r", \d+ slower"), ""),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One screen: what it is of, what was typed, what it shows, and the same with the colours' escape sequences."""

    title: str
    typed: str
    text: str
    coloured: str


def take(columns: int) -> Iterator[Picture]:
    """Take all pictures in a terminal of a width."""
    with tempfile.TemporaryDirectory(prefix="screens") as home:
        root = Path(home)
        with _terminal(root / "one", columns) as running, _terminal(root / "two", columns) as screen:
            screen.run("microlith new app shop", folder=root)
            assert screen.code() == 0, screen.text()
            shop = root / "shop"
            (shop / "shop/auth/handlers/welcome.py").write_text(WELCOME, "utf-8")
            running.run("microlith run", folder=shop)
            running.wait_for("q quit")
            yield _picture("The start of a run", "microlith run", running, shop)
            for title, typed in SCREENS:
                screen.run(typed, folder=shop)
                screen.code()
                yield _picture(title, typed.removeprefix("sleep 0.5; "), screen, shop)
            screen.run("microlith dispatch LoginCommand", folder=shop)
            screen.wait_for("such as")
            screen.press("Enter")
            screen.wait_for("a value is needed")
            yield _picture("A question, and what is said below it", "microlith dispatch LoginCommand", screen, shop)
            screen.press("C-c")
            screen.code()
            yield _picture("The run, meanwhile", "", running, shop)
            running.press("q")
            running.code()


@contextmanager
def _terminal(folder: Path, columns: int) -> Iterator[Tmux]:
    folder.mkdir()
    environment = plain_environment()
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", "")))
    terminal = Tmux(folder, columns=columns, rows=ROWS, environment=environment)
    try:
        yield terminal
    finally:
        terminal.end()


def _picture(title: str, typed: str, screen: Tmux, shop: Path) -> Picture:
    shown, coloured = screen.text(), screen.text(colored=True)
    return Picture(title, typed, _tidy(shown, shop), _tidy(coloured, shop))


def _tidy(text: str, shop: Path) -> str:
    """A picture without the shell's prompt, and without what only this machine has."""
    lines = text.replace(str(shop), "…/shop").splitlines()
    while lines and lines[-1].removeprefix("\x1b[0m").removeprefix("\x1b[39m\x1b[49m").strip() in {"", "#", "$"}:
        lines.pop()
    text = "".join(f"{line}\n" for line in lines)
    for pattern, name in HERE:
        text = pattern.sub(name, text)
    return text


def comparable(text: str) -> str:
    """A picture with all that varies made equal."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return steady(text)


def written(pictures: Sequence[tuple[int, Picture]]) -> str:
    """The page."""
    parts = [INTRODUCTION]
    for title in dict.fromkeys(picture.title for _, picture in pictures):
        parts.append(f"\n## {title}\n")
        for columns, picture in pictures:
            if picture.title == title:
                typed = f"$ {picture.typed}\n" if picture.typed else ""
                parts.append(f"\n{columns} columns:\n\n```text\n{typed}{picture.text}```\n")
    return "".join(parts)


def main() -> None:
    """Take all pictures and write them down."""
    pictures = [(columns, picture) for columns in WIDTHS for picture in take(columns)]
    PAGE.write_text(written(pictures), "utf-8")
    COLOURED.mkdir(exist_ok=True)
    for width in WIDTHS:
        shown = [
            f"\x1b[1m{each.title}\x1b[0m\n\n{each.coloured}\x1b[0m\n" for columns, each in pictures if columns == width
        ]
        (COLOURED / f"{width}.ansi").write_text("".join(shown), "utf-8")


if __name__ == "__main__":
    main()
