"""Applying a plan: all of it or nothing.

Everything is written to a staging folder first, where a full disk or an interruption does no harm.
Then each file is linked into its place, which fails rather than overwrites; if one fails, the others
are taken back. A project that is not there yet appears with one rename.
"""

import fcntl
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from microlith_cli.control.address import make_private, opened
from microlith_cli.project import STATE
from microlith_cli.scaffolding.errors import ConflictError, WriteFailedError
from microlith_cli.scaffolding.manifest import NAME, Step, digest, manifest_path, read_manifest
from microlith_cli.scaffolding.planning import Plan, inside

_STAGING = "new-"
_LOCK_TRIES = 50
_LOCK_PAUSE = 0.1  # seconds


def apply(plan: Plan) -> None:
    """Do what a plan says, and record it.

    Raises:
        ConflictError: Files are in the way, or came there since the plan was made; nothing was written.
        WriteFailedError: The disk refused; everything is as it was.
        OutsideProjectError: A path leads out of the project.
    """
    plan.refuse_conflicts()
    try:
        if plan.undone is not None:
            _undo(plan, plan.undone)
        elif plan.of("create"):
            _add(plan) if plan.root.exists() else _create(plan)
    except OSError as error:
        raise WriteFailedError(str(error.filename or plan.root), error.strerror or str(error)) from error


def _create(plan: Plan) -> None:
    """Make a project that is not there: complete under another name, then renamed."""
    folders = sorted({str(parent) for change in plan.changes for parent in Path(change.path).parents} - {"."})
    with tempfile.TemporaryDirectory(prefix=f".{plan.root.name}-", dir=plan.root.parent) as staging:
        root = Path(staging, plan.root.name)
        root.mkdir()
        for folder in folders:
            (root / folder).mkdir()
        _write(plan, root)
        make_private(root / STATE)
        manifest_path(root).write_bytes(_recorded(plan, root, folders))
        with _uninterrupted():
            root.rename(plan.root)


def _add(plan: Plan) -> None:
    with _staging(plan.root) as staging:
        staged = _write(plan, staging)
        placed: list[Path] = []
        folders: list[str] = []
        with _uninterrupted():
            try:
                for path, source in staged.items():
                    target = inside(plan.root, path)
                    _make_folders(plan.root, path, folders)
                    _link(source, target, path)
                    placed.append(target)
                _replace_manifest(plan.root, staging, _recorded(plan, plan.root, folders))
            except BaseException:
                for target in placed:
                    target.unlink()
                _remove_folders(plan.root, folders)
                raise


def _undo(plan: Plan, step: Step) -> None:
    with _staging(plan.root) as staging:
        manifest = read_manifest(plan.root)
        taken: list[tuple[Path, Path]] = []
        with _uninterrupted():
            try:
                for number, change in enumerate(plan.of("remove")):
                    target, aside = inside(plan.root, change.path), staging / str(number)
                    target.rename(aside)
                    taken.append((target, aside))
                    if digest(aside.read_bytes()) != step.added[change.path]:
                        raise ConflictError([change.path], hint="It has just changed; look at it and try again.")
                    manifest.files.pop(change.path, None)
                manifest.steps = [other for other in manifest.steps if other != step]
                _replace_manifest(plan.root, staging, manifest.encode())
            except BaseException:
                for target, aside in taken:
                    aside.rename(target)
                raise
            _remove_folders(plan.root, step.folders)
    if not manifest.steps:
        _forget(plan.root)


def _forget(root: Path) -> None:
    """Leave nothing of an application that was undone whole."""
    manifest_path(root).unlink(missing_ok=True)
    with suppress(OSError):  # not empty: somebody works here
        (root / STATE).rmdir()
        root.rmdir()


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder of our own in the project's `.microlith`, with the project to ourselves."""
    state = root / STATE
    make_private(state)
    with opened(state) as descriptor:
        _lock(descriptor, root)
        for left_behind in state.glob(f"{_STAGING}*"):
            shutil.rmtree(left_behind)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=state))
        try:
            yield staging
        finally:
            shutil.rmtree(staging)


def _lock(descriptor: int, root: Path) -> None:
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE)
    raise WriteFailedError(root.name, "another `microlith new` is at work there")


def _write(plan: Plan, folder: Path) -> dict[str, Path]:
    """Write all new files below a folder; path to where each is now."""
    written = {}
    for change in plan.of("create"):
        written[change.path] = folder / change.path
        written[change.path].parent.mkdir(parents=True, exist_ok=True)
        written[change.path].write_bytes(change.content)
    return written


def _make_folders(root: Path, path: str, made: list[str]) -> None:
    for parent in reversed(Path(path).parents):
        if not (root / parent).is_dir():
            (root / parent).mkdir()
            made.append(parent.as_posix())


def _remove_folders(root: Path, folders: list[str] | tuple[str, ...]) -> None:
    for folder in sorted(folders, reverse=True):
        with suppress(OSError):  # not empty: it has become someone's
            (root / folder).rmdir()


def _link(source: Path, target: Path, path: str) -> None:
    try:
        try:
            target.hardlink_to(source)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with target.open("xb") as copy:
                copy.write(source.read_bytes())
    except FileExistsError as error:
        raise ConflictError([path], hint="It has just appeared; look at it and try again.") from error


def _recorded(plan: Plan, root: Path, folders: list[str]) -> bytes:
    manifest = read_manifest(root)
    added = {change.path: digest(change.content) for change in plan.of("create")}
    manifest.files |= added
    manifest.steps.append(Step(plan.what, added, tuple(folders), plan.uses))
    return manifest.encode()


def _replace_manifest(root: Path, staging: Path, content: bytes) -> None:
    written = staging / NAME
    written.write_bytes(content)
    written.replace(manifest_path(root))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and termination back for the milliseconds in which files change places."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
