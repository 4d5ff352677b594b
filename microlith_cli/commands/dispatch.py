"""`microlith dispatch`: send one message, and wait for what comes of it.

The flags of the message come from its schema, which the running microlith gives; it also validates, so
neither the project's code nor pydantic is imported here unless nothing runs.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microlith_cli.console import blocks, plain
from microlith_cli.errors import DONE, SAID_NO, ConnectionLostError, RefusedError, UnsafeJsonError, UsageError
from microlith_cli.flags import example, payload_from, put, shown_flag
from microlith_cli.options import Options, seconds, split
from microlith_cli.project import find_project
from microlith_cli.schema import Field, Schema
from microlith_cli.session import Mode, message_named, only_reply, open_session, read_catalog
from microlith_cli.strict_json import MAX_PAYLOAD, check, parse

VALUED = ("--wait", "--fail-on", "--timeout", "--data")
SWITCHES = ("--all", "--once", "--attach", "--reveal", "--json", "--help")
TIMEOUT = 5.0  # seconds
GRACE = 10.0  # seconds beyond the timeout, in which a running microlith must have said so
KEPT_FACTS = 2000  # for the tree of what did happen

USAGE = """\
Usage: microlith dispatch [OPTIONS] MESSAGE [--field value]...

  Send a command, query or event, and wait for what comes of it.

  The fields of the message are flags: --email, nested ones --address.city,
  lists by repeating the flag, --no-x for a boolean. A field whose name is one
  of the options below is given as --field.NAME. A secret that is left out is
  asked for. `microlith dispatch MESSAGE --help` shows the fields.
"""
OPTIONS = """\
Options:
  --wait TYPE      Wait for this message; repeated: for the first of them.
  --all            Wait for every --wait, not for the first.
  --fail-on TYPE   End with exit code 1 when this message comes. Repeatable.
  --timeout TIME   How long to wait, such as 500ms, 5s, 2m. Default: 5s.
  --data JSON      The fields as JSON; @FILE reads a file, - reads stdin.
  --once           Run the application in this process, for this message alone.
  --attach         Use the running application; exit code 4 when none runs.
  --reveal         Show secrets instead of ***.
  --json           Print one JSON object a line.
  --help           Show this text, or the fields of MESSAGE.

A query waits for its response. Exit codes: 0 done, and every wait met; 1 a
handler failed or --fail-on came; 2 wrong usage or payload; 3 timed out; 4 not
reachable; 130 interrupted.
"""


@dataclass(slots=True)
class Wish:
    """What the command line asks for, but for the payload."""

    type_name: str
    tokens: list[str]
    mode: Mode
    wait: list[str]
    every: bool
    fail_on: list[str]
    timeout: float
    reveal: bool
    facts: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_FACTS))

    def request(self, payload: Mapping[str, Any], *, trace: bool) -> dict[str, Any]:
        """Put it into the words of the control channel."""
        return {
            "verb": "dispatch",
            "type": self.type_name,
            "data": payload,
            "wait": self.wait,
            "all": self.every,
            "fail_on": self.fail_on,
            "timeout": self.timeout,
            "trace": trace,
            "reveal": self.reveal,
        }


def run(arguments: list[str]) -> int:
    """Send a command, query or event, and wait for what comes of it."""
    given = split(arguments, valued=VALUED, switches=SWITCHES)
    plain.settings.as_json = given.has("--json")
    if given.has("--help"):
        return _help(given)
    wish = _wish(given)
    base = _read_data(given.one("--data"))
    with open_session(find_project(), wish.mode, say=plain.say) as session:
        entry = only_reply(session, {"verb": "describe", "type": wish.type_name})["message"]
        waits = bool(wish.wait or wish.fail_on or entry["kind"] == "query")
        request = wish.request(_payload(entry, wish, base), trace=waits)
        return _follow(session.request(request, patience=wish.timeout + GRACE), wish, session.mode, waits=waits)


def _wish(given: Options) -> Wish:
    if given.has("--once") and given.has("--attach"):
        raise UsageError("--once and --attach exclude each other.")
    if given.has("--all") and not given.all("--wait"):
        raise UsageError("--all needs at least one --wait.")
    mode: Mode = "once" if given.has("--once") else "attach" if given.has("--attach") else "auto"
    timeout = given.one("--timeout")
    return Wish(
        type_name=_message(given),
        tokens=given.rest[1:],
        mode=mode,
        wait=given.all("--wait"),
        every=given.has("--all"),
        fail_on=given.all("--fail-on"),
        timeout=TIMEOUT if timeout is None else seconds(timeout, "--timeout"),
        reveal=given.has("--reveal"),
    )


def _message(given: Options) -> str:
    if not given.rest:
        raise UsageError("Which message?", hint="`microlith list` shows them; `microlith dispatch --help` the options.")
    if given.rest[0].startswith("-"):
        raise UsageError(f"The name of the message comes before its fields, and before {given.rest[0]}.")
    return given.rest[0]


def _read_data(data: str | None) -> dict[str, Any]:
    """The payload given as JSON; empty when there is none."""
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
    if len(raw) > MAX_PAYLOAD:
        raise UnsafeJsonError(f"it has more than {MAX_PAYLOAD} bytes")
    value = parse(raw.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(value, dict):
        raise UsageError("--data takes one JSON object, with the fields of the message.")
    return value


def _payload(entry: Mapping[str, Any], wish: Wish, base: Mapping[str, Any]) -> dict[str, Any]:
    """Put the payload together, and refuse what nobody should even be sent."""
    payload, secrets = payload_from(
        Schema(entry["schema"]),
        wish.tokens,
        base,
        entry["type"],
        can_ask=lambda each: _somebody_is_there() and (each.is_secret or each.name in entry["secrets"]),
    )
    for secret in secrets:
        put(payload, secret.path, _ask(f"{secret.name}: "))
    check(payload)
    if len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_PAYLOAD:
        raise UnsafeJsonError(f"it has more than {MAX_PAYLOAD} bytes")
    return payload


def _ask(question: str) -> str:
    # Imports termios; only for a person at a terminal.
    from getpass import getpass  # noqa: PLC0415

    try:
        return getpass(question)
    except EOFError:  # Ctrl-D means the same here as Ctrl-C
        raise KeyboardInterrupt from None


def _somebody_is_there() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def _follow(replies: Iterator[dict[str, Any]], wish: Wish, mode: str, *, waits: bool) -> int:
    """Show what comes back, until the end."""
    accepted = ""
    try:
        for reply in replies:
            if "accepted" in reply:
                accepted = blocks.short_id(str(reply["accepted"].get("id", "")))
                _show_accepted(reply["accepted"], waits=waits)
            elif "fact" in reply:
                wish.facts.append(reply["fact"])
            elif "matched" in reply:
                _show(reply["matched"])
            if reply.get("end"):
                return _end(reply, wish)
    except KeyboardInterrupt:
        if accepted:
            later = "goes on" if mode == "attached" else "is carried on at the next start, if its store is durable"
            plain.say(f"stopped waiting; {wish.type_name} {accepted} was accepted and {later}")
        raise
    raise ConnectionLostError


def _show_accepted(message: Mapping[str, Any], *, waits: bool) -> None:
    if waits:
        number = blocks.short_id(str(message.get("id", "")))
        plain.say(f"accepted {message.get('type')} {number}")
    elif plain.settings.as_json:
        plain.out_json(message)
    else:
        plain.out(blocks.accepted_block(message))


def _show(message: Mapping[str, Any]) -> None:
    if plain.settings.as_json:
        plain.out_json(message)
    else:
        plain.out(blocks.message_block(message))


def _end(reply: Mapping[str, Any], wish: Wish) -> int:
    code = int(reply.get("exit", SAID_NO if "error" in reply else DONE))
    if wish.facts and plain.settings.verbosity >= (0 if "error" in reply else 1):
        # 15 ms, and most dispatches need no tree.
        from microlith_cli.causation import build_trees  # noqa: PLC0415
        from microlith_cli.console.tree import show_tree  # noqa: PLC0415

        for tree in build_trees(wish.facts):
            show_tree(tree, sys.stderr)
    if "error" not in reply:
        return code
    error = dict(reply["error"])
    if report := reply.get("report"):
        error["report"] = report
    raise RefusedError(error, code)


def _help(given: Options) -> int:
    """Show the usage, or the fields of one message."""
    if not given.rest:
        plain.out(f"{USAGE}\n{OPTIONS}".rstrip("\n"))
        return DONE
    catalog = read_catalog(find_project())
    entry = message_named(catalog, _message(given))
    if plain.settings.as_json:
        plain.out_json(entry)
        return DONE
    schema = Schema(entry["schema"])
    taken = (*VALUED, *SWITCHES)
    emits = [
        name for handler in catalog["handlers"] if handler["name"] in entry["handlers"] for name in handler["emits"]
    ]
    lines = [f"Usage: microlith dispatch {entry['type']} [--field value]... [OPTIONS]", ""]
    lines += [*blocks.paragraphs(entry.get("doc") or f"A {entry['kind']} of {entry['component']}."), "", "Fields:"]
    rows = [(f"  {shown_flag(each, taken)}", each.kind, _remark(each)) for each in schema.fields()]
    lines += [plain.escape(line) for line in blocks.columns(rows)] or ["  none"]
    lines += ["", *_handling(entry, emits), "", *OPTIONS.splitlines(), "", "Example:"]
    wait = f" --wait {emits[0]}" if emits and entry["kind"] != "query" else ""
    lines.append("  " + plain.escape(example(entry["type"], schema, taken) + wait))
    plain.out("\n".join(lines))
    return DONE


def _remark(described: Field) -> str:
    """What else to know about a field: whether it must be given, its default, its author's words."""
    if described.is_secret and described.required:
        said = "required; asked for when left out."
    elif described.required:
        said = "required."
    else:
        said = f"default {described.default}." if described.default is not None else "optional."
    return f"{said} {described.doc}".strip()


def _handling(entry: Mapping[str, Any], emits: list[str]) -> list[str]:
    if not entry["handlers"]:
        return ["Nothing handles it."]
    returns = f"; it returns {', '.join(emits)}" if emits else ""
    return blocks.paragraphs(f"Handled by {', '.join(entry['handlers'])}{returns}.", indent="")
