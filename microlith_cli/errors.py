"""The errors that the tool raises, one class per mistake, each with its exit code.

    ToolError
    ├── UsageError              a command line that cannot be meant
    │   ├── AmbiguousIdError          the beginning of several ids
    │   ├── UnknownNameError          a command or an option that does not exist
    │   ├── PayloadError              fields that do not fit their message
    │   └── UnsafeJsonError           JSON that is refused before anyone acts on it
    ├── NoProjectError          no pyproject.toml with [tool.microlith] here or above
    ├── ConfigError             a setting that cannot be read
    ├── AppLoadError            the project's application does not import
    ├── UnsafeDirectoryError    a directory that others could write into
    ├── AlreadyRunningError     a second `run` of one project
    ├── NothingRunsError        no microlith listens
    │   ├── NoAnswerError             something listens and says nothing
    │   ├── WrongProtocolError        something listens and speaks otherwise
    │   └── ConnectionLostError       it went away before it had answered
    ├── NoEditorError           the editor cannot be started
    ├── OutputError             what was to be shown could not be written
    └── RefusedError            the running microlith refused; its own error, carried here

The runtime has a tree of its own, `microlith.errors`: it is not imported here, because a client of a
running microlith must not pay for the runtime.
"""

from collections.abc import Mapping, Sequence
from typing import Any

DONE = 0
SAID_NO = 1
WRONG_USAGE = 2
TIMED_OUT = 3
NOT_REACHABLE = 4
INTERRUPTED = 130

_MOST_NAMED = 5
"""How many of the things that could be meant are named."""


class ToolError(Exception):
    """Something the tool refused or could not do.

    Attributes:
        hint: What to do about it, one sentence; empty when there is nothing to add.
        exit: The exit code of the process.
    """

    exit = SAID_NO

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def as_dict(self) -> dict[str, Any]:
        """Show it the way it travels: type, message, and hint when there is one."""
        shown = {"type": type(self).__name__, "message": str(self)}
        return {**shown, "hint": self.hint} if self.hint else shown


class NoEditorError(ToolError):
    """The editor that the user wants cannot be started."""

    def __init__(self, editor: str, error: OSError) -> None:
        super().__init__(
            f"The editor {editor!r} cannot be started: {error.strerror or error}.",
            hint="Set VISUAL or EDITOR to one that can; --data takes the payload as JSON without one.",
        )


class OutputError(ToolError):
    """What was to be shown could not be written, such as into a file on a full disk. What was done is done."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The output could not be written: {error.strerror or error}.",
            hint="What the command did is done; look where its output goes.",
        )


def nearest(name: str, names: Sequence[str]) -> str | None:
    """Find the name that was most likely meant, or None when none is close."""
    # difflib costs 6 ms, and most commands are typed right.
    from difflib import get_close_matches  # noqa: PLC0415

    lowered = {known.lower(): known for known in names}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.55)
    return lowered[close[0]] if close else None


class UsageError(ToolError):
    """The command line cannot be meant as it was typed; nothing was done."""

    exit = WRONG_USAGE


class AmbiguousIdError(UsageError):
    """What was typed is the beginning, or the end, of several ids.

    Args:
        typed: What was typed.
        found: What it could be, each as it is shown: a short id, and what has it.
    """

    def __init__(self, typed: str, found: Sequence[str], *, hint: str = "Type more of it") -> None:
        more = " and more" if len(found) > _MOST_NAMED else ""
        super().__init__(
            f"{typed!r} could be {', '.join(found[:_MOST_NAMED])}{more}.",
            hint=f"{hint}; the short id is the end of the whole id.",
        )


class UnknownNameError(UsageError):
    """A command or an option that does not exist."""

    def __init__(self, what: str, name: str, known: Sequence[str], *, see: str) -> None:
        close = nearest(name, known)
        super().__init__(
            f"There is no {what} {name!r}.", hint=f"Did you mean {close!r}?" if close else f"`{see}` shows them all."
        )
        self.name = name


class PayloadError(UsageError):
    """A payload that does not fit its message type; nothing was sent. Named and worded as the runtime's own.

    Attributes:
        problems: One mapping per problem: field (dotted), problem, nearest (a field name or None).
            Never holds a given value.
    """

    def __init__(self, type_name: str, problems: Sequence[Mapping[str, Any]]) -> None:
        self.problems = [dict(problem) for problem in problems]
        guesses = [problem["nearest"] for problem in self.problems if problem.get("nearest")]
        super().__init__(
            f"The payload does not fit {type_name}: "
            + "; ".join(f"{problem['field']}: {problem['problem']}" for problem in self.problems),
            hint=f"Did you mean {guesses[0]!r}?"
            if guesses
            else f"`microlith dispatch {type_name} --help` shows the fields.",
        )

    def as_dict(self) -> dict[str, Any]:
        """Show it with its problems."""
        return {**super().as_dict(), "problems": self.problems}


class UnsafeJsonError(UsageError):
    """JSON that is too large, too deep, ambiguous or not JSON at all."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This JSON is refused: {problem}.")


class NoProjectError(ToolError):
    """No project was found."""

    exit = WRONG_USAGE

    def __init__(self, start: str) -> None:
        super().__init__(
            f"No pyproject.toml with [tool.microlith] in {start} or above.",
            hint="`microlith new app NAME` makes a project; `microlith -C DIR` looks in another folder.",
        )


class ConfigError(ToolError):
    """A setting cannot be read or has a value that makes no sense."""

    exit = WRONG_USAGE


class AppLoadError(ToolError):
    """The project's application could not be imported.

    Attributes:
        file: Where it went wrong, from the project's root; empty when the place is unknown.
        line: The line in that file, from 1; 0 when unknown.
        source: That line's text, stripped; empty when unknown.
    """

    def __init__(self, reason: str, *, file: str = "", line: int = 0, source: str = "", hint: str = "") -> None:
        place = f"{file}:{line}: " if file else ""
        super().__init__(f"{place}{reason}", hint=hint)
        self.file = file
        self.line = line
        self.source = source

    def as_dict(self) -> dict[str, Any]:
        """Show it with its place in the project's code."""
        return {**super().as_dict(), "file": self.file, "line": self.line, "source": self.source}


class UnsafeDirectoryError(ToolError):
    """A directory that must belong to this user alone does not, or cannot be made."""


class AlreadyRunningError(ToolError):
    """Another process already serves this project; nothing of it was touched."""

    def __init__(self, project: str, owner: str) -> None:
        super().__init__(
            f"{project} is already running{f' ({owner})' if owner else ''}.",
            hint="Stop that one, or talk to it with `microlith dispatch`.",
        )
        self.owner = owner


class RunsElsewhereError(ToolError):
    """What is to be run is a part of what runs already, or the other way round.

    Args:
        processes: Those of some components that run; None when one runs that has all components.
    """

    def __init__(self, processes: Sequence[str] | None) -> None:
        super().__init__(
            "One process with all components runs already."
            if processes is None
            else f"Components run already in processes of their own: {', '.join(processes)}.",
            hint="Stop it first: two processes with the same component would share its messages, and not its store.",
        )


class NothingRunsError(ToolError):
    """No microlith listens for this project."""

    exit = NOT_REACHABLE

    def __init__(self, message: str, *, hint: str = "Start it with `microlith run`.") -> None:
        super().__init__(message, hint=hint)


class NoAnswerError(NothingRunsError):
    """Something listens and does not answer in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"{what} within {seconds:g} s.", hint="If it hangs, stop it and start it again with `microlith run`."
        )


class WrongProtocolError(NothingRunsError):
    """Something listens that this version of the tool cannot talk to."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"What listens here does not speak as this version does: it said {said}.",
            hint="Stop the running microlith and start it with this version.",
        )


class ConnectionLostError(NothingRunsError):
    """The running microlith went away before it had answered."""

    def __init__(self) -> None:
        super().__init__(
            "The running microlith went away before it had answered.",
            hint="What it had accepted is carried on at its next start; `microlith trace @last` shows how far it came.",
        )


class RefusedError(ToolError):
    """The microlith refused a request; type, text and exit code are the ones it gave.

    Attributes:
        error: The error as it was sent, with `problems` where a payload did not validate.
    """

    def __init__(self, error: Mapping[str, Any], code: int) -> None:
        super().__init__(str(error.get("message", "no reason given")), hint=str(error.get("hint") or ""))
        self.error = dict(error)
        self.exit = code

    def as_dict(self) -> dict[str, Any]:
        """Show it as it was sent."""
        return self.error
