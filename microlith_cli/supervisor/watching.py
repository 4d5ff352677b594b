"""The watcher of a project's files: says which ones were saved.

Built on the kernel's file notifications. Folders that cannot hold the application's code (caches,
virtual environments, version control, everything hidden) are not even looked into.

Never decides what to do about a save.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, awatch

SUFFIXES = (".py", ".toml")
SKIPPED = frozenset({"__pycache__", "node_modules", "venv", "env", "site-packages", "build", "dist"})
STEP_MS = 25
"""Changes closer together than this are one save: editors write a file in several steps."""
LONGEST_MS = 250
"""A stream of changes is reported at least this often."""


def is_skipped(name: str) -> bool:
    """Whether a folder of this name is left alone."""
    return name.startswith(".") or name in SKIPPED or name.endswith(".egg-info")


def can_matter(root: Path, path: Path) -> bool:
    """Whether a path below `root` is in a place where the application's code may be."""
    *folders, name = Path(os.path.relpath(path, root)).parts
    return not is_skipped(name) and not any(is_skipped(folder) for folder in folders)


def code_folders(top: Path) -> set[Path]:
    """A folder and those below it, except the ones left alone."""
    found = {top}
    for folder, names, _ in os.walk(top):
        names[:] = [name for name in names if not is_skipped(name)]
        found.update(Path(folder, name) for name in names)
    return found


class Watcher:
    """Watches one project.

    Args:
        root: The project's folder, absolute.
        changed: Gets the paths of each save. Called on the loop.
    """

    def __init__(self, root: Path, changed: Callable[[set[Path]], None]) -> None:
        self._root = root
        self._changed = changed
        self._known = code_folders(root)

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            OSError: The kernel refuses, such as when it has no watches left.
        """
        # The root is watched flat and its folders one by one, so that a large folder to skip costs
        # nothing. When there are other folders, the new watch begins before the old one ends.
        async with asyncio.TaskGroup() as below:
            folders = self._folders()
            watching = below.create_task(self._watch(folders))
            async for changes in awatch(
                self._root, watch_filter=None, step=STEP_MS, debounce=LONGEST_MS, recursive=False
            ):
                if (found := self._folders()) != folders:
                    folders, before = found, watching
                    watching = below.create_task(self._watch(folders))
                    await asyncio.sleep(0)  # it begins
                    before.cancel()
                self._sift(changes)

    async def _watch(self, folders: set[Path]) -> None:
        if folders:
            async for changes in awatch(
                *folders, watch_filter=None, step=STEP_MS, debounce=LONGEST_MS, ignore_permission_denied=True
            ):
                self._sift(changes)

    def _sift(self, changes: set[tuple[Change, str]]) -> None:
        """Pass on what can change what the application does."""
        paths = {Path(path): change for change, path in changes}
        if found := {path for path, change in paths.items() if self._concerns(change, path)}:
            self._changed(found)

    def _concerns(self, change: Change, path: Path) -> bool:
        if not can_matter(self._root, path):
            return False
        # A folder that is moved here or away is one change, not one for each file in it.
        if change is Change.added and path.is_dir():
            added = code_folders(path)
            self._known |= added
            return any(file.suffix == ".py" for folder in added for file in folder.iterdir())
        if change is Change.deleted and path in self._known:
            self._known.discard(path)
            return True
        return path.suffix in SUFFIXES

    def _folders(self) -> set[Path]:
        with os.scandir(self._root) as entries:
            return {Path(entry.path) for entry in entries if entry.is_dir() and not is_skipped(entry.name)}
