"""What `microlith run` shows: a card at the start, then facts, notes and what the user's code prints.

Two screens, one for people and one for programs. Text from the user's code is escaped, so that every
line stays a line.

Decides nothing about what happens; every method is called from one thread.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from microlith_cli.console import plain
from microlith_cli.console.card import show_card
from microlith_cli.console.lines import notice_words
from microlith_cli.console.live import LiveTracer
from microlith_cli.plurals import plural

Fact = Mapping[str, Any]

_IN_PROCESS = "memory:"
_SAFE_SQLITE = (3, 51, 3)
_OLD_SQLITE = " (before 3.51.3 several connections that write could damage the log; here one writes)"


class LinesScreen:
    """Lines for people: facts and the user's stdout to stdout, all else to stderr.

    Args:
        quiet: Show errors and what the user's code prints, and nothing else.
        processes: Names of the processes that facts come from, where there are several.
    """

    def __init__(self, *, quiet: bool = False, processes: Sequence[str] = ()) -> None:
        self._quiet = quiet
        self._processes = processes
        self._tracer: LiveTracer | None = None

    def card(self, card: Fact) -> None:
        """Show what serves."""
        if not self._quiet and "processes" in card:
            show_card(str(card["app"]), kept_rows(card), sys.stderr)
        elif not self._quiet:
            title = f"{card['app']}  generation {card['generation']}"
            show_card(title, card_rows(card), sys.stderr, warnings={"unhandled"})

    def facts(self, facts: Sequence[Fact]) -> None:
        """Show each fact in a line, or in sum when there are too many to read."""
        if self._quiet:
            self._complain_of_failures(facts)
            return
        if sys.stdout is None:
            return
        if self._tracer is None:
            self._tracer = LiveTracer(sys.stdout, processes=self._processes)
        self._tracer.facts(facts)

    def _complain_of_failures(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            data = fact.get("data", {})
            if fact.get("type") == "microlith.transport":
                plain.complain(plain.escape(notice_words(fact)[1]))
            if fact.get("type") == "microlith.handled" and data.get("outcome") in {"failed", "timeout"}:
                error = data.get("error", {})
                where = f" ({error['file']}:{error['line']})" if "file" in error else ""
                said = (
                    f"{data['handler']} failed on {data['message']}: {error.get('type')}: {error.get('message')}{where}"
                )
                plain.complain(plain.escape(said))

    def note(self, text: str) -> None:
        """Say one thing."""
        if not self._quiet:
            plain.err(plain.escape(text))

    def failed(self, error: Fact, meanwhile: str) -> None:
        """Show where the user's code is broken."""
        for line in error_lines(error, meanwhile):
            plain.complain(plain.escape(line))

    def output(self, stream: str, line: str) -> None:
        """Pass on what the user's code printed."""
        (plain.out if stream == "stdout" else plain.complain)(plain.escape(line))

    def prompt(self, text: str) -> None:
        """Ask for a line, where what is said to the user goes."""
        plain.ask(text)

    def expand(self, expanded: bool) -> None:
        """Show payloads whole, or in a line."""
        if sys.stdout is not None:
            self._tracer = self._tracer or LiveTracer(sys.stdout, processes=self._processes)
            self._tracer.expanded = expanded

    def close(self) -> None:
        """Show what the tracer still has to sum up."""
        if self._tracer is not None:
            self._tracer.close()


class KeptScreen(LinesScreen):
    """What a process says of itself, for whoever keeps several and shows their facts and a card for all."""

    def card(self, card: Fact) -> None:
        """Show none."""

    def facts(self, facts: Sequence[Fact]) -> None:
        """Show none."""


class JsonScreen(LinesScreen):
    """Facts as JSON lines on stdout, and nothing else there."""

    def card(self, card: Fact) -> None:
        """Show what serves, as one object."""
        plain.out_json({"serving": card})

    def facts(self, facts: Sequence[Fact]) -> None:
        """Write each fact as one object."""
        for fact in facts:
            plain.out_json(fact)

    def failed(self, error: Fact, meanwhile: str) -> None:
        """Write the error as one object."""
        del meanwhile
        plain.out_json({"error": {name: value for name, value in error.items() if name != "traceback"}})

    def output(self, stream: str, line: str) -> None:
        """Pass on what the user's code printed, beside the facts."""
        del stream
        plain.complain(plain.escape(line))


def card_rows(card: Fact) -> Iterator[tuple[str, str]]:
    """Tell the start card: what there is, what nobody handles, how durable it is, where it listens."""
    yield "components", ", ".join(card["components"]) or "none"
    counts = [plural(count, kind) for kind, count in card["handlers"].items() if count]
    yield "handlers", f"{', '.join(counts) or 'none'}; {plural(card['projections'], 'projection')}"
    if card["unhandled"]:
        yield "unhandled", ", ".join(card["unhandled"])
    if carried := buses_line(card.get("buses", {})):
        yield "buses", carried
    yield "store", store_line(card)
    if card.get("spans"):
        yield "spans", f"sent to {card['spans']}"
    yield "listens at", str(card["socket"])
    yield "reload", "on save" if card["reloads"] else "off"
    if card.get("keys"):
        yield "keys", str(card["keys"])


def kept_rows(card: Fact) -> Iterator[tuple[str, str]]:
    """Tell the start card of several processes that one command keeps."""
    yield "processes", ", ".join(card["processes"])
    if carried := buses_line(card.get("buses", {})):
        yield "buses", carried
    yield "reload", "on save" if card["reloads"] else "off"
    yield "ends with", "Ctrl-C; a second one ends it at once"


def buses_line(places: Mapping[str, str]) -> str:
    """Say what carries each bus, and each type that has another carrier; empty where nothing leaves the process."""
    if set(places.values()) <= {_IN_PROCESS}:
        return ""
    carried: dict[str, list[str]] = {}
    for bus, place in {**dict.fromkeys(("command", "query", "event"), _IN_PROCESS), **places}.items():
        carried.setdefault(place, []).append(bus.removeprefix("types."))
    return "; ".join(
        f"{', '.join(names)} {'in this process' if place == _IN_PROCESS else f'over {place}'}"
        for place, names in carried.items()
    )


def store_line(card: Fact) -> str:
    """Say what the store survives, and in which SQLite it is kept."""
    if card["durability"] == "memory":
        return "in memory; lost at the end, and at each reload"
    said = "fast; a power cut may lose the newest events" if card["durability"] == "fast" else str(card["durability"])
    engine, _, version = str(card["engine"]).partition(" ")
    parts = tuple(int(part) for part in version.split(".") if part.isdigit())
    old = engine == "SQLite" and parts < _SAFE_SQLITE
    return f"{said}; {f'{engine} {version}'.rstrip()}{_OLD_SQLITE if old else ''}{_shared(card)}"


def _shared(card: Fact) -> str:
    if not card.get("shared"):
        return ""
    return f"; shared, {'this process leads' if card.get('leads') else 'another process leads'}"


def error_lines(error: Fact, meanwhile: str) -> Iterator[str]:
    """Write an error of the user's code: the place, the line, the message, and what is done meanwhile."""
    message = str(error.get("message", ""))
    place = f"{error['file']}:{error.get('line', 0)}" if error.get("file") else ""
    if plain.settings.verbosity > 0 and error.get("traceback"):
        yield str(error["traceback"]).rstrip("\n")
    yield f"error {message}" if place in message else f"error {place}: {message}"
    if error.get("source"):
        yield f"      {error['source']}"
    if error.get("hint"):
        yield f"hint  {error['hint']}"
    if meanwhile:
        yield meanwhile
