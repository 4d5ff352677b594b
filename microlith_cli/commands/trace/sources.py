"""Where the facts of one correlation come from: the trace log, or a file that `trace export` wrote."""

from pathlib import Path
from typing import Any

from microlith.tracing.finding import find_correlation
from microlith.tracing.log import LIMIT, TraceLog, read_facts
from microlith_cli import strict_json
from microlith_cli.errors import ToolError, UnsafeJsonError, UsageError
from microlith_cli.project import find_project

SUFFIX = ".jsonl"
_DEEPEST = strict_json.MAX_DEPTH + 2  # a payload inside a fact


class NoTraceFileError(ToolError):
    """A file does not hold a trace; nothing was done with it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path} holds no trace: {problem}.", hint="A trace file is what `microlith trace export ID FILE` writes."
        )


def facts_of(typed: str) -> tuple[str, list[dict[str, Any]]]:
    """Read one correlation, by its id or from a file: its id and its facts.

    Raises:
        TraceNotFoundError: There is no such correlation in the trace log.
        NoTraceFileError: The file is none of ours.
        UsageError: The file cannot be read.
    """
    if is_file_name(typed):
        return read_file(Path(typed))
    project = find_project()
    identifier = find_correlation(project.traces, typed)
    return identifier, list(read_facts(project.traces, correlation=identifier))


def is_file_name(typed: str) -> bool:
    """Tell whether what was typed for a correlation names a file: no id holds a slash or a dot."""
    return "/" in typed or typed.endswith(SUFFIX)


def read_file(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Read a trace file; see `facts_of`."""
    try:
        if path.stat().st_size > LIMIT:
            raise NoTraceFileError(path, f"it is larger than {LIMIT >> 20} MiB")
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}.") from error
    facts = [_fact(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    identifiers = list(dict.fromkeys(fact["correlationid"] for fact in facts))
    if len(identifiers) != 1:
        raise NoTraceFileError(path, "it is empty" if not identifiers else f"it holds {len(identifiers)} correlations")
    return identifiers[0], facts


def import_file(path: Path) -> tuple[str, int]:
    """Put a trace file into the trace log of the project; the id of the correlation, and how many facts were new.

    Raises:
        ToolError: The trace log cannot be written.
    """
    identifier, facts = read_file(path)
    project = find_project()
    # Tries of one handler have one id, and begin at different times.
    there = {(fact.get("id"), fact.get("time")) for fact in read_facts(project.traces, correlation=identifier)}
    new = [fact for fact in facts if (fact.get("id"), fact.get("time")) not in there]
    log = TraceLog(project.state)
    try:
        log.write(new)
    finally:
        log.close()
    if log.disabled:
        raise ToolError(f"The trace log cannot be written: {log.disabled}.")
    return identifier, len(new)


def _fact(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        fact = strict_json.parse(line, max_depth=_DEEPEST)
    except UnsafeJsonError as error:
        raise NoTraceFileError(path, f"line {number}: {error}") from error
    if not isinstance(fact, dict) or not all(isinstance(fact.get(key), str) for key in ("id", "type", "correlationid")):
        raise NoTraceFileError(path, f"line {number} is no fact, which has an id, a type and a correlationid")
    return fact
