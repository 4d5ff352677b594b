"""The help of `dispatch`: how it is used, and the fields of one message."""

from collections.abc import Mapping
from typing import Any

from microlith_cli.commands.dispatch.wish import SWITCHES, VALUED, message_of
from microlith_cli.console import blocks, plain
from microlith_cli.errors import DONE
from microlith_cli.flags import example, shown_flag
from microlith_cli.options import Options
from microlith_cli.project import find_project
from microlith_cli.schema import Field, Schema
from microlith_cli.session import message_named, read_catalog

USAGE = """\
Usage: microlith dispatch [OPTIONS] MESSAGE [--field value]...
       microlith dispatch [OPTIONS] --from TRACE_ID [--field value]...
       microlith dispatch [OPTIONS] --batch FILE [MESSAGE]

  Send a command, query or event, and wait for what comes of it.

  The fields of the message are flags: --email, nested ones --address.city,
  lists by repeating the flag, --no-x for a boolean. A field whose name is one
  of the options below is given as --field.NAME. In a terminal, what is left out
  and has no default is asked for; a secret is not shown as it is typed.
  `microlith dispatch MESSAGE --help` shows the fields.
"""
OPTIONS = """\
Options:
  --wait TYPE      Wait for this message; repeated: for the first of them.
                   With a condition: "UserLoggedInEvent where sid=1".
  --all            Wait for every --wait, not for the first.
  --fail-on TYPE   End with exit code 1 when this message comes. Repeatable.
  --timeout TIME   How long to wait, such as 500ms, 5s, 2m. Default: 5s.
  --quiet-for TIME Wait until nothing it caused is left to do for so long.
  --after TIME     Have it sent later, such as in 30s, 2h or 7d.
  --at MOMENT      Have it sent at a moment with a time zone, such as
                   2030-01-31T09:00:00+01:00 or 2030-01-31T08:00:00Z.
  --data JSON      The fields as JSON; @FILE reads a file, - reads stdin.
  --header NAME=VALUE
                   A header that travels with it, such as principal=user-7.
                   NAME=@FILE reads the value, NAME=- asks for it. Repeatable.
  --from TRACE_ID  Begin with the payload of that trace's first message; its
                   secrets are asked for.
  --edit           Edit the payload in $VISUAL or $EDITOR before it goes.
  --batch FILE     Send every line of a file, or of stdin with -: payloads of
                   MESSAGE, or without it objects with type and data.
  --concurrency N  Messages of a batch under way at a time. Default: 8.
  --once           Run the application in this process, for this message alone.
  --attach         Use the running application; exit code 4 when none runs.
  --reveal         Show secrets instead of ***.
  --json           Print one JSON object a line.
  --help           Show this text, or the fields of MESSAGE.

A query waits for its response. Exit codes: 0 done, and every wait met; 1 a
handler failed or --fail-on came; 2 wrong usage or payload; 3 timed out; 4 not
reachable; 130 interrupted.
"""


def show_help(given: Options) -> int:
    """Show the usage, or the fields of one message."""
    if not given.rest:
        plain.out(f"{USAGE}\n{OPTIONS}".rstrip("\n"))
        return DONE
    catalog = read_catalog(find_project())
    entry = message_named(catalog, message_of(given))
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
