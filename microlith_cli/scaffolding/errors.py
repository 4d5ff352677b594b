"""The errors of scaffolding, one class per mistake.

ToolError
├── InvalidNameError        a name that no module or class can have
├── InvalidFieldError       a FIELD:TYPE=DEFAULT that cannot be meant
├── UnknownComponentError   a component that the project does not have
├── UnknownMessageError     a message that its component does not have
├── AmbiguousMessageError   a name that two messages share
├── UnreadableSourceError   a file of the project that is not Python
├── HandledElsewhereError   a second handler for a command or query
├── DefinedElsewhereError   a second class of one name
├── RowNotCoveredError      an event that cannot fill a read model's row
├── ConflictError           files in the way; nothing was written
├── OutsideProjectError     a path that leads out of the project
├── WriteFailedError        the disk refused; nothing was left behind
├── DamagedManifestError    a record of generated files that cannot be read
├── NothingToUndoError      an undo of what was never done
├── StillUsedError          an undo of what something later needs
└── TemplatesMissingError   an installation without its templates
"""

from collections.abc import Sequence

from microlith_cli.errors import WRONG_USAGE, ToolError, nearest


class InvalidNameError(ToolError):
    """A name that cannot become a package, a module or a class."""

    exit = WRONG_USAGE

    def __init__(self, what: str, name: str, problem: str, *, hint: str) -> None:
        super().__init__(f"{name[:80]!r} cannot be the name of {what}: {problem}.", hint=hint)
        self.name = name


class InvalidFieldError(ToolError):
    """A field that cannot be meant as it was typed."""

    exit = WRONG_USAGE

    def __init__(self, field: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"Field {field[:80]!r}: {problem}.", hint=hint)
        self.field = field


class NoPackageError(ToolError):
    """The project's application lies in no package, so there is no place for a component."""

    def __init__(self, app: str, package: str) -> None:
        super().__init__(
            f"The application {app!r} lies in no package: there is no folder {package}.",
            hint=f"Move it to {package}/app.py and set app in [tool.microlith].",
        )


class UnknownComponentError(ToolError):
    """The project has no such component."""

    exit = WRONG_USAGE

    def __init__(self, name: str, known: Sequence[str]) -> None:
        close = nearest(name, known)
        super().__init__(
            f"The project has no component {name!r}.",
            hint=f"Did you mean {close!r}?" if close else f"`microlith new component {name}` makes it.",
        )
        self.name = name


class UnknownMessageError(ToolError):
    """A component has no such message."""

    exit = WRONG_USAGE

    def __init__(self, name: str, component: str, known: Sequence[str]) -> None:
        close = nearest(name, known)
        super().__init__(
            f"Component {component} has no message {name!r}.",
            hint=f"Did you mean {close!r}?"
            if close
            else f"`microlith new command {component}.{name}` makes one (or `new event`, `new query`).",
        )
        self.name = name


class AmbiguousMessageError(ToolError):
    """A short name that means more than one message."""

    exit = WRONG_USAGE

    def __init__(self, name: str, candidates: Sequence[str]) -> None:
        super().__init__(f"{name!r} could be {' or '.join(candidates)}.", hint="Write the whole class name.")
        self.candidates = tuple(candidates)


class UnreadableSourceError(ToolError):
    """A module of the project cannot be read as Python."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"Cannot read {path}: {reason}.", hint="Mend that file first; nothing was written.")


class HandledElsewhereError(ToolError):
    """A command or query has a handler in another module; it may have only one."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(
            f"{message} is handled in {place} already; nothing was written.",
            hint="A command or query has exactly one handler: change that one.",
        )


class DefinedElsewhereError(ToolError):
    """The component has a class of this name in another module."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"{name} is there already, in {place}; nothing was written.", hint="Choose another name.")


class RowNotCoveredError(ToolError):
    """An event lacks what a row of the read model needs."""

    def __init__(self, row: str, event: str, missing: Sequence[str]) -> None:
        super().__init__(
            f"{event} cannot fill a {row}: it has no {', '.join(missing)} of that type.",
            hint="Give those fields a default, or leave the event out and write that function by hand.",
        )
        self.missing = tuple(missing)


class ConflictError(ToolError):
    """Files are in the way; nothing was written.

    Attributes:
        paths: The files, from the project's root.
    """

    def __init__(self, paths: Sequence[str], *, hint: str) -> None:
        super().__init__(f"{', '.join(paths)} would have to be overwritten; nothing was written.", hint=hint)
        self.paths = tuple(paths)


class OutsideProjectError(ToolError):
    """A path leads out of the project, through a link; nothing was written there."""

    def __init__(self, path: str, where: str) -> None:
        super().__init__(
            f"{path} leads out of the project, to {where}; nothing was written.",
            hint="Replace that link by a real directory.",
        )


class WriteFailedError(ToolError):
    """The disk refused a write; everything is as it was."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"Cannot write {path}: {reason}.", hint="Everything is as it was before.")


class DamagedManifestError(ToolError):
    """The record of generated files cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}.",
            hint="Delete it: files then count as written by hand, and no `new` can be undone.",
        )


class NothingToUndoError(ToolError):
    """Nothing is recorded that could be undone."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"There is no `new {what}` to undo here.",
            hint="Only what `microlith new` added in this checkout is undone.",
        )


class StillUsedError(ToolError):
    """What would be undone is needed by something that was added later."""

    def __init__(self, path: str, users: Sequence[str]) -> None:
        shown = ", ".join(f"`new {user}`" for user in users)
        super().__init__(f"{path} is still used by {shown}; nothing was removed.", hint="Undo that first.")
        self.users = tuple(users)


class TemplatesMissingError(ToolError):
    """The installation has no templates."""

    def __init__(self, looked: Sequence[str]) -> None:
        super().__init__(f"The templates are in none of {', '.join(looked)}.", hint="Install microlith again.")
