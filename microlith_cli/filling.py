"""The payload of a message: from flags, from JSON, from an earlier message, from an editor, from whoever is asked."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from microlith_cli.errors import NoEditorError, ToolError, UnsafeJsonError, UsageError
from microlith_cli.flags import payload_from, put, read
from microlith_cli.project import Project
from microlith_cli.schema import Field, Schema
from microlith_cli.strict_json import MAX_PAYLOAD, check, parse

MASKED = "***"
_NOWHERE = object()


class MaskedFieldError(UsageError):
    """What a message is to be sent with again is not known any more, and was not given."""

    def __init__(self, type_name: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{'.'.join(names)} of the recorded {type_name} is secret, personal or erased: its value is not known.",
            hint=f"Give it: --{'.'.join(names).replace('_', '-')} VALUE.",
        )


def read_data(data: str | None) -> dict[str, Any]:
    """Read the payload given as JSON, `@FILE`, or `-` for stdin; empty when there is none.

    Raises:
        UsageError: It cannot be read, or is no object.
        UnsafeJsonError: It is no JSON that means the same to everyone.
    """
    if data is None:
        return {}
    if data == "-":
        raw = sys.stdin.buffer.read(MAX_PAYLOAD + 1)
    elif data.startswith("@"):
        try:
            with Path(data[1:]).open("rb") as file:
                raw = file.read(MAX_PAYLOAD + 1)
        except OSError as error:
            raise UsageError(f"--data {data}: {error.strerror}.") from error
    else:
        raw = data.encode("utf-8", "surrogateescape")
    return read_object(raw.removeprefix(b"\xef\xbb\xbf"), "--data")


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """Read one JSON object; `what` names it in errors."""
    if len(raw) > MAX_PAYLOAD:
        raise UnsafeJsonError(f"it has more than {MAX_PAYLOAD} bytes")
    value = parse(raw)
    if not isinstance(value, dict):
        raise UsageError(f"{what} takes one JSON object, with the fields of the message.")
    return value


def earlier_message(project: Project, typed: str) -> tuple[str, dict[str, Any]]:
    """Find the first message of a correlation in the trace log: its type and its payload, without what is secret.

    Raises:
        TraceNotFoundError: There is no such correlation.
        UsageError: Its first message is no longer in the trace log.
    """
    # Reading the trace log costs some milliseconds, and few dispatches do.
    from microlith.tracing.finding import find_correlation  # noqa: PLC0415
    from microlith.tracing.log import read_facts  # noqa: PLC0415

    identifier = find_correlation(project.traces, typed)
    for fact in read_facts(project.traces, correlation=identifier):
        if "bus" in fact and "causationid" not in fact and isinstance(fact.get("data"), dict):
            return str(fact["type"]), _without_masked(fact["data"])
    raise UsageError(f"The first message of {typed} is no longer in the trace log.", hint="Choose a newer trace.")


def complete(
    entry: Mapping[str, Any], tokens: list[str], base: Mapping[str, Any], *, edit: bool = False
) -> dict[str, Any]:
    """Put a payload together, ask for its secrets, and refuse what nobody should even be sent; see `gather`.

    Raises:
        PayloadError: Fields that do not exist or are missing, values that cannot be one.
        UnsafeJsonError: It is too large, or would not mean the same to everyone.
    """
    payload, secrets = gather(entry, tokens, base, edit=edit)
    for secret in secrets:
        put(payload, secret.path, ask_hidden(f"{secret.name}: "))
    return checked(payload)


def gather(
    entry: Mapping[str, Any], tokens: list[str], base: Mapping[str, Any], *, edit: bool = False, asks: bool = False
) -> tuple[dict[str, Any], list[Field]]:
    """Put together what there is of a payload.

    Args:
        entry: What is known of the message.
        tokens: Flags for its fields, which are laid over the base.
        base: Fields that are there already.
        edit: Whether the user edits it before it goes.
        asks: Whether more than a secret may be asked for.

    Returns:
        The payload, and the fields to ask for.

    Raises:
        PayloadError: Fields that do not exist or are missing, values that cannot be one.
    """
    schema = Schema(entry["schema"])
    if edit:
        base, tokens = _edited(entry["type"], schema, tokens, base), []
    return payload_from(
        schema,
        tokens,
        base,
        entry["type"],
        can_ask=lambda each: somebody_is_there() and (asks or each.is_secret or each.name in entry["secrets"]),
    )


def checked(payload: dict[str, Any]) -> dict[str, Any]:
    """Refuse a payload that nobody should even be sent.

    Raises:
        UnsafeJsonError: It is too large, or would not mean the same to everyone.
    """
    check(payload)
    if len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_PAYLOAD:
        raise UnsafeJsonError(f"it has more than {MAX_PAYLOAD} bytes")
    return payload


def ask_hidden(question: str) -> str:
    """Ask whoever sits at the terminal for something that is not shown as it is typed.

    Raises:
        KeyboardInterrupt: There will be no answer.
    """
    # Imports termios; only for a person at a terminal.
    from getpass import getpass  # noqa: PLC0415

    try:
        return getpass(question)
    except EOFError:  # Ctrl-D means the same here as Ctrl-C
        raise KeyboardInterrupt from None


def refilled(entry: Mapping[str, Any], tokens: list[str], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Put the payload of a recorded message together again. What was masked in it is given as flags, or asked for.

    Args:
        entry: What is known of the message.
        tokens: Flags for its fields, which are laid over what was recorded.
        recorded: Its fields; what is masked, or erased, has the mask for a value.

    Raises:
        MaskedFieldError: A masked field was not given, and there is nobody to ask.
        PayloadError: As `complete`.
    """
    schema, base = Schema(entry["schema"]), _without_masked(recorded)
    given, _ = payload_from(schema, tokens, base, entry["type"], can_ask=lambda _: True)
    for path in _masked_in(recorded):
        if _found(given, path) not in (_NOWHERE, MASKED):
            continue
        names = [part for part in path if isinstance(part, str)]
        field = schema.field(".".join(names))
        if field is None or len(names) < len(path) or not somebody_is_there():
            raise MaskedFieldError(entry["type"], names)
        put(base, names, read(field, ask_hidden(f"{field.name}: ")))
    return complete(entry, tokens, base)


def _found(data: Any, path: Sequence[str | int]) -> Any:
    """Return what lies deep inside a payload; `_NOWHERE` when it is not there."""
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return _NOWHERE
    return data


def _masked_in(data: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every masked value; numbers are places in lists."""
    inside = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inside:
        if value == MASKED:
            yield (*above, key)
        else:
            yield from _masked_in(value, (*above, key))


def somebody_is_there() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def _edited(type_name: str, schema: Schema, tokens: list[str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Let the user edit a payload; fields that are required and not there yet have a value that likely fits."""
    draft, _ = payload_from(schema, tokens, base, type_name, can_ask=lambda _: True)
    for field in schema.missing(draft):
        if not field.is_secret:
            put(draft, field.path, [field.item.sample] if field.is_list else field.sample)
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    # Only this user can read it, and it is gone afterwards.
    with tempfile.TemporaryDirectory(prefix="microlith-") as folder:
        file = Path(folder, f"{type_name}.json")
        file.write_text(json.dumps(draft, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        try:
            code = subprocess.run([*editor, str(file)], check=False).returncode
        except OSError as error:
            raise NoEditorError(editor[0], error) from error
        if code:
            raise ToolError(f"The editor {editor[0]} ended with {code}; nothing was sent.")
        return read_object(file.read_bytes(), "What was edited")


def _without_masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields whose value was masked, at any depth: they are given or asked for anew."""
    return {
        key: _without_masked(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if value != MASKED
    }
