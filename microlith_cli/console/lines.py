"""Facts as lines: one fact, one line, for pipes and for searching.

    2026-11-23T12:00:00.123Z 9e3779b1 command  RegisterCommand id=9e3779b1 email=a@b.c password=***
    2026-11-23T12:00:00.186Z 9e3779b1 ok       auth.register RegisterCommand id=9e3779b1 queued=120µs took=62ms

The first four words are always there: time (UTC), correlation, what it is, who it is about.
Nothing is cut but very long payloads, and nothing is coloured.
"""

import os
from collections.abc import Iterable
from typing import TextIO

from microlith_cli.causation import HANDLED, STARTED, Fact, cause_of, id_of, kind_of, read_handling, takers
from microlith_cli.console.ink import Ink, duration, one_line
from microlith_cli.console.payload import payload_line
from microlith_cli.console.plain import write
from microlith_cli.plurals import plural

_LONGEST_PAYLOAD = 2000
_OF_A_SCHEDULE = ("message", "due", "name", "messageid")
_TIME = 23
"""Characters of a time down to the millisecond."""


def show_lines(facts: Iterable[Fact], stream: TextIO) -> int:
    """Write each fact as a line; returns how many there were."""
    ink = Ink.of(stream)
    count = 0
    for fact in facts:
        write(stream, fact_line(fact, ink))
        count += 1
    return count


def fact_line(fact: Fact, ink: Ink) -> str:
    """Write one fact as a line, safe to show."""
    time = one_line(fact.get("time") or "-")
    correlation = one_line(fact.get("correlationid") or "-")[-8:]
    moment = f"{time[:_TIME]}Z" if time.endswith("Z") and len(time) > _TIME else time
    return " ".join([moment, f"{correlation:8}", *filter(None, _words(fact, ink))])


def notice_words(fact: Fact) -> tuple[str, str]:
    """Say in two parts what a notice, such as a reload, is about."""
    data = fact.get("data")
    data = data if isinstance(data, dict) else {}
    name = one_line(str(fact.get("type")).removeprefix("microlith."))
    match name:
        case "dropped":
            count = data.get("count")
            said = f"{plural(count, 'fact') if isinstance(count, int) else 'facts'} there was no room for"
        case "reloaded":
            said = _files(data) or one_line(data.get("reason", ""))
        case "failed_reload":
            error = data.get("error")
            said = error_words(error) if isinstance(error, dict) else _files(data)
        case "transport":
            name, said = "broker", _broker_words(data)
        case "lead":
            said = _lead_words(data)
        case "idle":
            said = _idle_words(data)
        case "scheduled":  # when it is due first: a terminal may have no room for the rest
            said = payload_line({key: data[key] for key in _OF_A_SCHEDULE if key in data}, _LONGEST_PAYLOAD)
        case _:
            said = payload_line(data, _LONGEST_PAYLOAD)
    return name, said


def error_words(error: Fact) -> str:
    """Say in one line what went wrong and where."""
    kind, message = one_line(error.get("type") or ""), one_line(error.get("message") or "")
    said = f"{kind}: {message}" if kind and message else kind or message
    place = error_place(error)
    return f"{said}  {place}" if place and place not in said else said


def error_place(error: Fact) -> str:
    """Say where an error was raised: file, from here if it lies below, and line; empty when unknown."""
    if not (file := error.get("file")):
        return ""
    here = os.getcwd() + os.sep  # noqa: PTH109 (a text is wanted)
    return f"{one_line(str(file).removeprefix(here))}:{one_line(error.get('line', '?'))}"


def _words(fact: Fact, ink: Ink) -> list[str]:
    if fact.get("type") in (HANDLED, STARTED):
        return _handling_words(fact, ink)
    if "bus" not in fact:
        name, said = notice_words(fact)
        return [f"{name:8}", said, _process(fact)]
    kind = kind_of(fact)
    position = f"#{one_line(fact['position'])}" if "position" in fact else ""
    taken = f"({takers(fact)})" if takers(fact) else ""
    words = [f"{kind:8}", one_line(fact.get("type")), f"id={one_line(id_of(fact)[-8:])}", position, _process(fact)]
    return [*words, payload_line(fact.get("data"), _LONGEST_PAYLOAD), taken]


def _process(fact: Fact) -> str:
    """Name the process that a fact comes from; empty for an application that is one process."""
    return f"process={one_line(fact['process'])}" if fact.get("process") else ""


def _handling_words(fact: Fact, ink: Ink) -> list[str]:
    handling = read_handling(fact)
    words = [f"{one_line(handling.outcome):8}", one_line(handling.handler), one_line(handling.message or "?")]
    words += [f"id={one_line(cause_of(fact)[-8:])}", _process(fact)]
    if handling.attempt > 1:
        words.append(f"attempt={handling.attempt}")
    if handling.took_ms is not None:
        words.append(f"queued={duration(handling.queued_ms, ink).replace(' ', '')}")
        words.append(f"took={duration(handling.took_ms, ink).replace(' ', '')}")
    return [*words, error_words(handling.error) if handling.error else ""]


def _broker_words(data: Fact) -> str:
    broker = one_line(data.get("broker", "?"))
    if data.get("connected"):
        return f"{broker} is back; what waited is sent"
    return f"{broker} is away: {one_line(data.get('reason', '?'))}; what is sent meanwhile waits"


def _lead_words(data: Fact) -> str:
    process = one_line(data.get("process", "?"))
    if data.get("leads"):
        return f"{process} leads the store from now on"
    return f"{process} leads the store no more; it goes on handling commands and queries"


def _idle_words(data: Fact) -> str:
    stopped = data.get("stopped")
    failed = data.get("failed")
    words = "nothing is left to do"
    words += f"; {plural(failed, 'message')} failed" if isinstance(failed, int) and failed else ""
    return words + (
        f"; stopped: {one_line(', '.join(map(str, stopped)))}" if isinstance(stopped, list) and stopped else ""
    )


def _files(data: Fact) -> str:
    files = data.get("files")
    took = data.get("took_ms")
    shown = " ".join(map(one_line, files[:10])) if isinstance(files, list) else ""
    more = f" and {len(files) - 10} more" if isinstance(files, list) and len(files) > 10 else ""
    return f"{shown}{more}  {took:.0f} ms" if isinstance(took, int | float) else f"{shown}{more}"
