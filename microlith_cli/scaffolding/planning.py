"""The plan: what a command would do to each file, before anything is done.

A file that is there with other content is never part of what will be written. It is "kept" when it
was generated before and then changed by hand, or when any content will do; else it is a "conflict".

Reads only.
"""

import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from microlith_cli.scaffolding.errors import (
    ConflictError,
    NothingToUndoError,
    OutsideProjectError,
    StillUsedError,
    UnreadableSourceError,
)
from microlith_cli.scaffolding.manifest import Manifest, Step, digest

Action = Literal["create", "unchanged", "kept", "conflict", "remove", "gone"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one file.

    Attributes:
        path: From the project's root, with slashes.
        action: "create" and "remove" do something; the others do not.
        content: What would be written; empty for an undo.
        found: What is there; None when nothing is, or no plain file.
        why: Why it is kept; empty otherwise.
    """

    path: str
    action: Action
    content: bytes = b""
    found: bytes | None = None
    why: str = ""

    def diff(self) -> Iterator[str]:
        """The lines of a unified diff, from what is there to what was asked for; none when they are equal."""
        import difflib  # noqa: PLC0415 (6 ms, and most plans are not compared)

        before = _lines(self.found or b"")
        after = _lines(self.content)
        here = "/dev/null" if self.found is None else f"a/{self.path}"
        there = "/dev/null" if self.action == "remove" else f"b/{self.path}"
        for line in difflib.unified_diff(before, after, here, there):
            yield line.rstrip("\n")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one command would do.

    Attributes:
        root: The project's root; may not exist yet.
        what: What was asked for, such as "command auth.reset_password".
        changes: One for each file.
        uses: Files the new ones need.
        undone: The step this takes back; None when the plan adds.
        notes: What a person should know besides.
        following: Command lines to go on with.
    """

    root: Path
    what: str
    changes: tuple[Change, ...]
    uses: tuple[str, ...] = ()
    undone: Step | None = None
    notes: tuple[str, ...] = ()
    following: tuple[str, ...] = ()

    def refuse_conflicts(self) -> None:
        """Go no further when files are in the way.

        Raises:
            ConflictError: Names them.
        """
        if conflicts := self.of("conflict"):
            raise ConflictError(
                [change.path for change in conflicts], hint="Move your file away and try again, or go on by hand."
            )

    def of(self, action: Action) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.action == action]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command asks for: files, and what goes with them.

    Attributes:
        files: Path to text.
        if_missing: Those of them for which whatever is there will do.

    The others are those of a plan.
    """

    what: str
    files: Mapping[str, str]
    if_missing: frozenset[str] = frozenset()
    uses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    following: tuple[str, ...] = ()


def application_root(folder: Path, name: str) -> Path:
    """The root of an application that is to lie in a folder.

    Raises:
        OutsideProjectError: A link of that name is there; it may lead anywhere.
    """
    root = folder / name
    if root.is_symlink():
        raise OutsideProjectError(name, str(root.readlink()))
    return root


def plan_addition(root: Path, wanted: Wanted, manifest: Manifest) -> Plan:
    """Compare the files that are wanted with those that are there.

    Raises:
        OutsideProjectError: A path leads out of the project.
    """
    changes = tuple(
        _addition(root, path, text.encode(), manifest, whatever=path in wanted.if_missing)
        for path, text in wanted.files.items()
    )
    return Plan(root, wanted.what, changes, wanted.uses, notes=wanted.notes, following=wanted.following)


def plan_undo(root: Path, what: str, manifest: Manifest) -> Plan:
    """Plan the removal of what the last step of that name added, as far as nobody changed it.

    Raises:
        NothingToUndoError: There is no such step.
        StillUsedError: Another step needs one of its files.
        OutsideProjectError: A path leads out of the project.
    """
    step = manifest.last(what)
    if step is None:
        raise NothingToUndoError(what)
    for path in step.added:
        if users := manifest.users(path, but=step):
            raise StillUsedError(path, users)
    changes = tuple(_removal(root, path, hash_) for path, hash_ in step.added.items())
    return Plan(root, what, changes, undone=step)


def inside(root: Path, path: str) -> Path:
    """Where a path of the project really lies, with the links above it followed.

    Raises:
        OutsideProjectError: Not below the project's root.
    """
    target = root / path
    try:
        parent = target.parent.resolve()
        within = parent.is_relative_to(root.resolve())
        with suppress(FileNotFoundError, NotADirectoryError):
            parent.stat()  # finds links in a circle, which `resolve` does not name from Python 3.13 on
    except (OSError, RuntimeError) as error:  # RuntimeError: the same, before Python 3.13
        raise OutsideProjectError(path, f"nowhere ({error})") from error
    if not within:
        raise OutsideProjectError(path, str(parent))
    return parent / target.name


def _addition(root: Path, path: str, content: bytes, manifest: Manifest, *, whatever: bool) -> Change:
    exists, found = _look(root, path)
    if not exists:
        return Change(path, "create", content)
    if found == content:
        return Change(path, "unchanged", content, found)
    recorded = manifest.files.get(path)
    if found is not None and recorded is not None and recorded != digest(found):
        return Change(path, "kept", content, found, "changed by hand")
    if found is not None and whatever:
        return Change(path, "kept", content, found, "there already")
    return Change(path, "conflict", content, found)


def _removal(root: Path, path: str, hash_: str) -> Change:
    exists, found = _look(root, path)
    if not exists:
        return Change(path, "gone")
    if found is not None and digest(found) == hash_:
        return Change(path, "remove", b"", found)
    return Change(path, "kept", b"", found, "changed by hand")


def _look(root: Path, path: str) -> tuple[bool, bytes | None]:
    """Whether something is there, and its content when it is a plain file."""
    target = inside(root, path)
    try:
        mode = target.lstat().st_mode
        return True, target.read_bytes() if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        return False, None
    except NotADirectoryError:  # a file where a folder should be
        return True, None
    except OSError as error:
        raise UnreadableSourceError(path, error.strerror or "it cannot be opened") from error


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines(keepends=True)
