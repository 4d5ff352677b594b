"""Claiming a folder for a process: the first that no other has, where several may share a store."""

from microlith_cli.control import address
from microlith_cli.control.server import take_lock
from microlith_cli.errors import AlreadyRunningError, ToolError
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
    shared = shares_store(project.config)
    for number in range(1, MOST + 1):
        numbered = project.numbered(number)
        address.make_private(numbered.state)
        try:
            return numbered, take_lock(numbered.state)
        except AlreadyRunningError:
            if not shared:
                raise
    raise TooManyProcessesError(next(iter(project.places())))
