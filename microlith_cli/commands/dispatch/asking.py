"""Asks whoever sits at the terminal for the fields that are missing, one after the other.

What the schema can tell to be wrong is asked for again, with the reason. Questions go to stderr; the end of the
input, Ctrl-D, means what Ctrl-C means: nothing is sent.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from microlith_cli.commands.dispatch.fitting import misfit
from microlith_cli.console import plain
from microlith_cli.console.blocks import paragraphs
from microlith_cli.filling import ask_hidden
from microlith_cli.flags import put, read
from microlith_cli.schema import Field, Schema

_LETTERS = {"y": "yes", "n": "no"}
_EMPTY = '""'


def can_ask() -> bool:
    """Whether somebody sits at a terminal, and sees there what is asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def ask_for(
    entry: Mapping[str, Any],
    fields: Iterable[Field],
    payload: dict[str, Any],
    problems: Mapping[str, str] | None = None,
) -> None:
    """Ask for some fields of a message, and put them into its payload.

    Args:
        entry: What is known of the message.
        fields: Those to ask for.
        payload: What there is already.
        problems: Why a field is asked for once more, by its name.

    Raises:
        KeyboardInterrupt: Nothing is to be sent.
    """
    fields = list(fields)
    try:
        if not problems and any(not _is_secret(field, entry) for field in fields):
            _introduce(entry, payload, fields)
        for field in fields:
            reason = (problems or {}).get(field.name)
            if reason:
                plain.complain(plain.escape(f"  {field.name}: {reason}"))
            put(
                payload, field.path, _ask_list(field) if field.is_list else _ask(field, secret=_is_secret(field, entry))
            )
    except KeyboardInterrupt:
        plain.complain("")  # the terminal has written ^C where the next line would stand
        plain.err("nothing was sent")
        raise


def _is_secret(field: Field, entry: Mapping[str, Any]) -> bool:
    return field.is_secret or field.name in entry["secrets"]


def _introduce(entry: Mapping[str, Any], payload: Mapping[str, Any], fields: list[Field]) -> None:
    """Say what the message is, and what is not asked for since it has a default."""
    said = " ".join(str(entry.get("doc") or "").split())
    plain.say(f"{entry['type']}: {said}" if said else str(entry["type"]))
    asked = {field.path[0] for field in fields}
    others = [
        f"{field.name}={field.default}"
        for field in Schema(entry["schema"]).fields()
        if field.default is not None and field.path[0] not in {*asked, *payload} and not _is_secret(field, entry)
    ]
    if others:
        plain.say(f"defaults: {' '.join(others)}")


def _ask_list(field: Field) -> list[Any]:
    """Ask for item after item, until an empty line."""
    item, items = field.item, list[Any]()
    question = _question(field, item)
    while True:
        text = _line(f"{question} {len(items) + 1}, empty to end: ")
        if text:
            value, problem = _read(item, text)
        elif problem := misfit(field, items):
            value = None
        else:
            return items
        if problem:
            plain.complain(plain.escape(f"  {problem}"))
        else:
            items.append(value)


def _ask(field: Field, *, secret: bool) -> Any:
    """Ask for one value, until it fits."""
    question = f"{field.name}: " if secret else f"{_question(field, field)}: "
    while True:
        text = ask_hidden(question) if secret else _line(question)
        if not text and "null" in field.kinds:
            return None
        if secret and text and "string" in field.kinds:  # as it was typed: it may look like anything
            value, problem = text, misfit(field, text)
        else:
            value, problem = _read(field, text)
        if not problem:
            return value
        plain.complain(plain.escape(f"  {problem}"))


def _question(field: Field, value: Field) -> str:
    """The name of a field with the type of its value; what else is to be known of it stands above."""
    constraints = ", ".join([*field.constraints, *(value.constraints if value is not field else ())])
    for line in paragraphs(f"{field.doc} {f'{constraints[0].upper()}{constraints[1:]}.' if constraints else ''}"):
        plain.err(line)
    return plain.escape(f"{field.name} ({'yes or no' if value.is_switch else value.kind})")


def _read(field: Field, text: str) -> tuple[Any, str | None]:
    """Read what was typed; gives the value, and what is wrong with it if something is."""
    if not text:
        return None, f"a value is needed; {_EMPTY} is an empty text" if "string" in field.kinds else "a value is needed"
    if field.is_switch:
        text = _LETTERS.get(text.lower(), text)
    try:
        value = "" if text == _EMPTY and "string" in field.kinds else read(field, text)
    except ValueError as error:
        return None, "must be yes or no" if field.is_switch else str(error)
    return value, misfit(field, value)


def _line(question: str) -> str:
    plain.ask(question)
    line = sys.stdin.buffer.readline()
    if not line:
        raise KeyboardInterrupt
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")
