"""Claiming a folder for a process: the first that no other has, where several may share a store."""

from microlith_cli.control import address
from microlith_cli.control.client import attach
from microlith_cli.control.server import take_lock
from microlith_cli.errors import AlreadyRunningError, NothingRunsError, ToolError
from microlith_cli.project import Project
from microlith_cli.sharing import MOST, shares_store


class TooManyProcessesError(ToolError):
    """As many processes share a store here as may."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{MOST} processes of {name} run here already, and share its store.",
            hint="Stop one, or use another machine.",
        )


def claim(project: Project) -> tuple[Project, int]:
    """Take the lock of a folder, for as long as a descriptor is open; gives the project with that folder, and the descriptor.

    The folder of one that has ended is taken again.

    Raises:
        AlreadyRunningError: It runs, and its store is not shared; nothing was touched.
        TooManyProcessesError: Its store is shared, by as many as may.
        UnsafeDirectoryError: The folder is not this user's alone, or cannot be made.
    """
    shared: bool | None = None
    for number in range(1, MOST + 1):
        numbered = project.numbered(number)
        address.make_private(numbered.state)
        try:
            return numbered, take_lock(numbered.state)
        except AlreadyRunningError:
            if shared is None:
                shared = shares_store(project.config) or _is_shared(numbered)
            if not shared:
                raise
    raise TooManyProcessesError(next(iter(project.places())))


def _is_shared(project: Project) -> bool:
    """Tell whether the process that runs says that its store is shared: where the application's own code says so, the settings do not."""
    try:
        session = attach(project.state)
    except NothingRunsError:
        return False
    if session is None:
        return False
    with session:
        return bool(session.hello.get("shared"))
