"""`trace diff`, `trace export` and `trace import`: traces beside one another, and outside the project."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from microlith.ids import short_id
from microlith_cli.causation import build_tree
from microlith_cli.causation.comparing import compare
from microlith_cli.causation.redacting import LEVELS, redactor
from microlith_cli.commands.trace.sources import facts_of, import_file
from microlith_cli.console import plain
from microlith_cli.console.difference import show_difference
from microlith_cli.errors import DONE, SAID_NO, ToolError, UnknownNameError, UsageError
from microlith_cli.options import Options, split
from microlith_cli.plurals import plural

_DIFF_USAGE = """\
Usage: microlith trace diff [OPTIONS] BEFORE AFTER

  Show how one trace differs from another: messages that are missing or new,
  outcomes and fields that changed, handlers that became slower.

  BEFORE and AFTER are ids as for `trace`, or files of `trace export`. Messages
  are paired by type and by the handler that sent them. Ids and times that play
  the same part count as the same. Exit code 1 when something differs; being
  slower is no difference.

Options:
  --json  One object per message that differs.
  --help  Show this text."""
_EXPORT_USAGE = """\
Usage: microlith trace export [OPTIONS] ID [FILE]

  Write one trace as a file, for a bug report or to compare with. `trace` and
  `trace diff` read it wherever they take an id. Without FILE, or with -, it goes
  to stdout.

Options:
  --redact LEVEL  none: as the trace log has it, where secrets are masked;
                  values (default): a word for each value of a payload;
                  all: no payloads. Error texts go with the values.
  --force         Write over a file that is there.
  --help          Show this text."""
_IMPORT_USAGE = """\
Usage: microlith trace import FILE

  Put a trace that `trace export` wrote into this project's trace log.

Options:
  --json  Say what was done as an object.
  --help  Show this text."""


def run_verb(verb: str, arguments: list[str]) -> int:
    """Run one of the verbs; returns the exit code."""
    return VERBS[verb](arguments)


def _diff(arguments: list[str]) -> int:
    given = split(arguments, valued=(), switches=("--json", "--help", "-h"))
    if _helped(given, _DIFF_USAGE):
        return DONE
    plain.settings.as_json = given.has("--json")
    before, after = _words(given, 2, "trace diff", "two traces: microlith trace diff @-2 @last")
    trees = [build_tree(*facts_of(typed)) for typed in (before, after)]
    pairs = compare(*trees)
    if given.has("--json"):
        for pair in pairs:
            if pair.telling:
                plain.out_json(pair.as_dict())
    else:
        show_difference(trees[0], trees[1], pairs, sys.stdout)
    return SAID_NO if any(pair.what != "same" for pair in pairs) else DONE


def _export(arguments: list[str]) -> int:
    given = split(arguments, valued=("--redact",), switches=("--force", "--help", "-h"))
    if _helped(given, _EXPORT_USAGE):
        return DONE
    if not 1 <= len(given.rest) <= 2:
        _words(given, 1, "trace export", "one trace: microlith trace export @last FILE")
    level = given.one("--redact") or "values"
    if level not in LEVELS:
        raise UsageError(f"--redact takes {', '.join(LEVELS)}, not {level!r}.")
    redact = redactor(level)
    identifier, facts = facts_of(given.rest[0])
    target = given.rest[1] if len(given.rest) > 1 else "-"
    lines = [plain.json_line(redact(fact)) for fact in facts]
    if target == "-":
        plain.out("\n".join(lines))
        return DONE
    _write(Path(target), "".join(f"{line}\n" for line in lines), force=given.has("--force"))
    plain.err(f"wrote {short_id(identifier)}, {plural(len(lines), 'fact')}, to {target}; redacted: {level}")
    return DONE


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write a file whole or not at all."""
    if path.exists() and not force:
        raise UsageError(f"{path} is there already.", hint="Choose another name, or write over it with --force.")
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise ToolError(f"{path} could not be written: {error.strerror or error}.") from error


def _import(arguments: list[str]) -> int:
    given = split(arguments, valued=(), switches=("--json", "--help", "-h"))
    if _helped(given, _IMPORT_USAGE):
        return DONE
    plain.settings.as_json = given.has("--json")
    (name,) = _words(given, 1, "trace import", "one file: microlith trace import FILE")
    identifier, count = import_file(Path(name))
    if given.has("--json"):
        plain.out_json({"correlationid": identifier, "facts": count})
    else:
        plain.out(
            f"{short_id(identifier)}  {plural(count, 'fact')}"
            if count
            else f"{short_id(identifier)}  was there already"
        )
    return DONE


def _helped(given: Options, usage: str) -> bool:
    if given.has("--help") or given.has("-h"):
        plain.out(usage)
        return True
    return False


def _words(given: Options, count: int, command: str, wanted: str) -> Sequence[str]:
    """Return the words that were given, if there are as many as needed."""
    strange = next((word for word in given.rest if word.startswith("-") and word != "-"), None)
    if strange is not None:
        raise UnknownNameError("option", strange, ("--json", "--redact", "--force"), see=f"microlith {command} --help")
    if len(given.rest) != count:
        raise UsageError(f"`{command}` takes {wanted}.")
    return given.rest


VERBS: dict[str, Callable[[list[str]], int]] = {"diff": _diff, "export": _export, "import": _import}
