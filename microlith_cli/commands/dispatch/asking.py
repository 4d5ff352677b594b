"""Asks whoever sits at the terminal for the fields that are missing, one after the other.

What the schema can tell to be wrong is said while it is typed, and such an answer is not taken. Questions go to stderr; the
end of the input, Ctrl-D, means what Ctrl-C means: nothing is sent.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from microlith_cli.commands.dispatch.fitting import doubt, misfit
from microlith_cli.console import plain
from microlith_cli.console.blocks import paragraphs
from microlith_cli.console.questions import Questions, Verdict, open_questions
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
    fields, questions = list(fields), open_questions()
    try:
        if not problems and any(not _is_secret(field, entry) for field in fields):
            _introduce(entry, payload, fields)
        for field in fields:
            reason = (problems or {}).get(field.name)
            if reason:
                for line in paragraphs(f"{field.name}: {reason}"):
                    plain.complain(line)
            put(payload, field.path, _answer(questions, field, secret=_is_secret(field, entry)))
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


def _answer(questions: Questions, field: Field, *, secret: bool) -> Any:
    """Ask for the value of a field, until it fits."""
    if field.is_list:
        return _ask_list(questions, field)
    question = f"{field.name}: " if secret else f"{_question(field, field)}: "
    take = partial(_take, field, secret=secret)
    hint = "" if secret else _hint(field)
    text = questions.ask(question, lambda text: take(text)[1], hint=hint, hidden=secret, words=_words(field))
    return take(text)[0]


def _ask_list(questions: Questions, field: Field) -> list[Any]:
    """Ask for item after item, until an empty line."""
    item, items = field.item, list[Any]()
    question = _question(field, item)

    def judge(text: str) -> Verdict:
        if text:
            return _take(item, text)[1]
        problem = misfit(field, items)
        return Verdict(fits=not problem, said=problem or "empty ends the list")

    while text := questions.ask(
        f"{question} {len(items) + 1}, empty to end: ", judge, hint=_hint(item), words=_words(item)
    ):
        items.append(_take(item, text)[0])
    return items


def _question(field: Field, value: Field) -> str:
    """The name of a field with the type of its value; what else is to be known of it stands above."""
    constraints = ", ".join([*field.constraints, *(value.constraints if value is not field else ())])
    for line in paragraphs(f"{field.doc} {f'{constraints[0].upper()}{constraints[1:]}.' if constraints else ''}"):
        plain.err(line)
    return plain.escape(f"{field.name} ({'yes or no' if value.is_switch else value.kind})")


def _hint(field: Field) -> str:
    """An answer that would likely fit, where it says more than the type does."""
    sample = field.sample
    return f"such as {sample}" if isinstance(sample, str) and not sample.startswith("some-") else ""


def _words(field: Field) -> list[str]:
    """What an answer can be completed to."""
    return ["yes", "no"] if field.is_switch else [str(choice) for choice in field.choices]


def _take(field: Field, text: str, *, secret: bool = False) -> tuple[Any, Verdict]:
    """Read what was typed; gives the value, and whether it fits."""
    if not text and "null" in field.kinds:
        return None, Verdict(fits=True, said="empty is none")
    if secret and text and "string" in field.kinds:  # as it was typed: it may look like anything
        value, problem = text, misfit(field, text)
    else:
        value, problem = _read(field, text)
    return value, Verdict(fits=not problem, said=problem or (not secret and doubt(field, value)) or "")


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
