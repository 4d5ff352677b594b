"""`microlith completion SHELL`, and the answers that the printed script asks for.

An answer comes from the table of commands and from `.microlith/catalog.json`, which a running microlith
writes: nothing of the project is imported, and nothing but the standard library, for every press of the
key starts a process.

Of other commands it knows the names and options only.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from microlith_cli.commands import GLOBAL_OPTIONS, TABLE, WORDS

STATE = ".microlith"
CATALOG = "catalog.json"
MAX_CATALOG = 16 << 20  # bytes
# A shell may expand what it is given, and a catalog comes with a folder that anyone may have made.
_HARMLESS = re.compile(r"[\w@][\w.@+-]*|--?[\w.-]+")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"?|'[^']*'?|\\$)+""")
_QUOTE = re.compile(r"""\\(.)|["']""")

BASH = r"""
_microlith() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("$1" _complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 0 && "$2" == @* ]]; then
        while IFS= read -r line; do
            COMPREPLY+=("@$line")
        done < <(compgen -f -- "${2#@}")
    fi
}
complete -o default -F _microlith microlith
"""
ZSH = r"""
#compdef microlith
_microlith() {
    local -a candidates
    candidates=("${(@f)$("${words[1]}" _complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        _describe microlith candidates
    else
        compset -P '*@'
        _files
    fi
}
if [[ "${funcstack[1]}" == _microlith ]]; then
    _microlith "$@"
else
    compdef _microlith microlith
fi
"""
FISH = r"""
function __microlith
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] _complete fish $words[2..] "$current" 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        set -l before (string replace -r '[^@]*$' '' -- "$current")
        for path in (__fish_complete_path (string replace -r '^.*@' '' -- "$current"))
            printf '%s%s\n' "$before" "$path"
        end
    end
end
complete -c microlith -k -f -a '(__microlith)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
USAGE = """\
Usage: microlith completion bash|zsh|fish

  Print the completion script of a shell.

  bash  eval "$(microlith completion bash)" in ~/.bashrc
  zsh   eval "$(microlith completion zsh)" in ~/.zshrc, after compinit
  fish  microlith completion fish > ~/.config/fish/completions/microlith.fish

  Messages, their fields, and ids of what happened lately are known once the
  application has run.

Options:
  --json  Print the script as one JSON object.
  --help  Show this text."""

Candidates = Iterable[tuple[str, str]]
Catalog = Callable[[str], dict[str, Any]]
"""Gives the catalog of the project that a folder lies in."""

_TAKE_IDS = frozenset({"trace", "dispatch", "replay", "events", "dead-letters", "schedules"})
_TAKES_EVENT = ("--type", "--on")


def run(arguments: list[str]) -> int:
    """Print the completion script of a shell."""
    # Not at the top: an answer needs neither.
    from microlith_cli.console import plain  # noqa: PLC0415
    from microlith_cli.errors import DONE, UnknownNameError, UsageError  # noqa: PLC0415

    given = [argument for argument in arguments if argument != "--json"]
    if "--help" in given:
        plain.out(USAGE)
        return DONE
    if len(given) != 1:
        raise UsageError("Which shell?", hint="Write `microlith completion bash`, zsh or fish.")
    if given[0] not in SCRIPTS:
        raise UnknownNameError("shell", given[0], list(SCRIPTS), see="microlith completion --help")
    script = SCRIPTS[given[0]].strip("\n")
    if plain.settings.as_json:
        plain.out_json({"shell": given[0], "script": script})
    else:
        plain.out(script)
    return DONE


def answer(arguments: Sequence[str]) -> str:
    """What could stand where the cursor is, one candidate a line; empty when nothing is known.

    Args:
        arguments: The shell, then the words after `microlith` up to the cursor, the last one unfinished. For bash, which
            takes words apart further, the line up to the cursor, and its end that a candidate is to replace.
    """
    shell, *words = arguments or ("zsh",)
    words, kept = _taken_apart(*words) if shell == "bash" and len(words) == 2 else (list(words), 0)
    current = words.pop() if words else ""
    flag, joined, value = current.partition("=")
    begun = f"{flag}=" if joined and flag.startswith("-") else ""
    if begun:
        words, current = [*words, flag], value
    every = (*_recent(words, current), *candidates(words, current, read_catalog))
    found = {
        (begun + word)[kept:]: said for word, said in every if word.startswith(current) and _HARMLESS.fullmatch(word)
    }
    separator = {"zsh": ":", "fish": "\t"}.get(shell)
    return "".join(f"{word}{separator + said if separator and said else ''}\n" for word, said in found.items())


def _taken_apart(line: str, replaced: str) -> tuple[list[str], int]:
    """Take a line apart: the words after the first, and how many characters of the last one are left as they are."""
    words = [_QUOTE.sub(r"\1", word[0]) for word in _WORD.finditer(line)]
    if not words or line[-1:].isspace():
        words.append("")
    return words[1:], len(words[-1]) - len(replaced) if words[-1].endswith(replaced) else 0


def _recent(before: list[str], current: str) -> Candidates:
    """Ids of what happened lately, where a command takes one. A shell of ours asks the application instead."""
    folder, words = _after_global(before)
    if not words or words[0] not in _TAKE_IDS or current.startswith("-"):
        return ()
    # Not before an id can follow.
    from microlith_cli import recent  # noqa: PLC0415

    match words:
        case ["trace"] | ["trace", "diff" | "export"] | ["trace", "diff", _] | ["replay", "correlation"]:
            find = recent.correlations
        case ["dispatch", *_, "--from"]:
            find = recent.correlations
        case ["events", "show"] | ["replay", "message"]:
            find = recent.events
        case ["dead-letters", "show" | "retry" | "drop"]:
            find = recent.failed
        case ["schedules", "show" | "cancel"]:
            find = recent.scheduled
        case _:
            return ()
    states = map(os.path.dirname, _found_upward(folder, recent.TRACE))
    return _first((found for state in states for found in find(state)), recent.OFFERED)


def _first(found: Candidates, most: int) -> Candidates:
    """The first different words of some; the newest comes first and counts."""
    words: dict[str, str] = {}
    for word, said in found:
        words.setdefault(word, said)
        if len(words) == most:
            break
    return words.items()


def candidates(before: list[str], current: str, known: Catalog) -> Candidates:
    """What may follow some words; some of it does not begin like the `current` one.

    Args:
        before: The words after `microlith`.
        current: What is there of the next one.
        known: Gives the catalog; asked only where that matters.
    """
    folder, before = _after_global(before)
    if before and before[-1] == "--color":
        return [(choice, "") for choice in ("auto", "always", "never")]
    if not before:
        commands = [(name, said) for name, said, _ in TABLE]
        return [(option, "") for option in GLOBAL_OPTIONS] if current.startswith("-") else commands
    command, *rest = before
    if rest and f"{command} {rest[0]}" in WORDS:
        command = f"{command} {rest.pop(0)}"
    words = [(word, "") for word in WORDS.get(command, ())]
    if command in {"dispatch", "bench"}:
        return _for_dispatch(known(folder), rest, current, words)
    if rest and rest[-1] in _TAKES_EVENT and rest[-1] in WORDS.get(command, ()):
        return _types(known(folder), {"event"})
    fitting = [(word, said) for word, said in words if current.startswith("-") or not (rest or word.startswith("-"))]
    return [*fitting, *_names(command, lambda: known(folder), rest)]


def _names(command: str, catalog: Callable[[], dict[str, Any]], rest: list[str]) -> Candidates:
    """What else has a name that the command takes."""
    if command == "replay projection":
        return [(row["name"], "") for row in catalog().get("projections", []) if row["name"] not in rest]
    if command == "list" or (command == "graph" and not rest):
        return [(name, "component") for name in catalog().get("components", []) if name not in rest]
    if command == "describe" and not rest:
        return _types(catalog(), {"command", "query", "response", "event"})
    lately = [("@last", "the newest"), ("@failed", "the newest that failed")]
    return lately if command == "trace" and not rest else []


def _types(catalog: dict[str, Any], kinds: set[str]) -> Candidates:
    messages = catalog.get("messages", [])
    return [(entry["type"], f"{entry['kind']} of {entry['component']}") for entry in messages if entry["kind"] in kinds]


def _after_global(before: list[str]) -> tuple[str, list[str]]:
    """Skip the options of microlith itself; gives the folder to look in, and what is left."""
    folder = "."
    rest = list(before)
    while rest and rest[0].startswith("-"):
        option, joined, value = rest[0].partition("=")
        if option in {"-C", "--color"} and not joined:
            if len(rest) == 1:
                break
            value = rest.pop(1)
        if option == "-C":
            folder = value
        del rest[0]
    return folder, rest


def _for_dispatch(catalog: dict[str, Any], rest: list[str], current: str, options: Candidates) -> Candidates:
    messages = catalog.get("messages", [])
    if rest and rest[-1] in {"--wait", "--fail-on"}:
        return [(entry["type"], entry["component"]) for entry in messages if entry["kind"] in {"event", "response"}]
    sendable = {entry["type"]: entry for entry in messages if entry["kind"] != "response"}
    sendable |= {f"{entry['component']}.{name}": entry for name, entry in sendable.items() if "." not in name}
    named = next((word for word in rest if word in sendable), None)
    if named is not None:
        return _flags(sendable[named], rest, current, options)
    if current.startswith("-"):
        return options
    return [
        (name, f"{entry['kind']} of {entry['component']}") for name, entry in sendable.items() if name == entry["type"]
    ]


def _flags(entry: dict[str, Any], rest: list[str], current: str, options: Candidates) -> Iterator[tuple[str, str]]:
    # The standard library only; not needed before a message is named.
    from microlith_cli.schema import Schema  # noqa: PLC0415

    schema = Schema(entry["schema"])
    before = schema.field(rest[-1].removeprefix("--")) if rest[-1].startswith("--") else None
    if before is not None and not before.is_switch:
        yield from ((str(choice), "") for choice in before.choices)
    elif current.startswith("-") or not current:
        taken = {option for option, _ in options}
        for field in schema.fields():
            name = f"--field.{field.flag[2:]}" if field.flag in taken else field.flag
            if field.is_list or name not in rest:
                yield name, f"{field.kind}. {field.doc}".rstrip(". ").replace(":", " ")
            if field.is_switch:
                yield f"--no-{field.flag[2:]}", ""
        yield from options


def read_catalog(folder: str) -> dict[str, Any]:
    """The catalog of the project that a folder lies in; empty when there is none that can be read."""
    # A press of the key before a message's name needs no JSON.
    import json  # noqa: PLC0415

    newest = max(_found_upward(folder, CATALOG), key=os.path.getmtime, default="")
    try:
        with open(newest, "rb") as file:  # noqa: PTH123 (as above)
            catalog = json.loads(file.read(MAX_CATALOG))
    except (OSError, ValueError, RecursionError):
        return {}
    return catalog if isinstance(catalog, dict) else {}


def _found_upward(folder: str, name: str) -> list[str]:
    """The files of a name that the nearest project from a folder upward keeps, for itself and for its components' processes."""
    here = os.path.abspath(folder)  # noqa: PTH100 (as above)
    while not (found := _kept(os.path.join(here, STATE), name)):  # noqa: PTH118 (as above)
        above = os.path.dirname(here)  # noqa: PTH120 (as above)
        if above == here:
            return []
        here = above
    return found


def _kept(state: str, name: str) -> list[str]:
    try:
        folders = [state, *(entry.path for entry in os.scandir(state) if entry.is_dir(follow_symlinks=False))]
    except OSError:
        return []
    return [path for path in (os.path.join(one, name) for one in folders) if os.path.isfile(path)]  # noqa: PTH113, PTH118 (as above)
