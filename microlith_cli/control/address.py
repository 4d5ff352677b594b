"""The place where a running microlith listens: a socket in the project's `.microlith` directory.

The directory is opened first, judged by its descriptor and then used through it: nothing can be put
in its place in between, and a long path is no hindrance (a socket's own path may have some 100 bytes).

Opens no connection of its own accord, and never trusts a directory that others could write into.
"""

import errno
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microlith_cli.errors import UnsafeDirectoryError

SOCKET = "control.sock"
POINTER = "socket"  # a file that names the socket where it could not lie in the directory itself
_ELSEWHERE = "microlith-"
_LONGEST = 100  # bytes; Linux takes 107, macOS 103
_QUEUE_PAUSE = 0.01  # seconds between two tries to get into the queue of callers
_DESCRIPTORS = Path("/proc/self/fd")


def make_private(directory: Path) -> None:
    """Make a directory that only this user may enter, or make sure that an existing one is; and one above it, if need be.

    Raises:
        UnsafeDirectoryError: It cannot be made, is a link, is someone else's, or others may write into it.
    """
    if not directory.parent.exists():
        _make(directory.parent)  # the project's own, of which this is a component's
    _make(directory)


def _make(directory: Path) -> None:
    before = os.umask(0o077)  # one that takes more would keep ourselves out
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnsafeDirectoryError(
            f"Cannot make {directory}: {error.strerror}.", hint="The project's folder must be writable to run it."
        ) from error
    finally:
        os.umask(before)
    with opened(directory) as descriptor:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Hold a private directory open; gives its descriptor.

    Raises:
        FileNotFoundError: There is none.
        UnsafeDirectoryError: It is a link, no directory, someone else's, or others may write into it.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        raise UnsafeDirectoryError(
            f"{directory} is a link or a file; it must be a directory.", hint="Move it away and run the command again."
        ) from error
    try:
        _judge(directory, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _judge(directory: Path, found: os.stat_result) -> None:
    if found.st_uid != os.getuid():
        raise UnsafeDirectoryError(
            f"{directory} belongs to user {found.st_uid}, not to you.", hint="Remove it, or use a project of your own."
        )
    if found.st_mode & 0o022:
        raise UnsafeDirectoryError(f"Other users may write into {directory}.", hint=f"chmod 700 '{directory}'")


def bind(directory: Path, *, through_descriptor: bool | None = None) -> socket.socket:
    """Bind the project's socket, readable and writable for this user only from its first moment on.

    The caller holds the project's lock: a socket that is already there is a dead one and is replaced.

    Args:
        directory: The private directory; it exists.
        through_descriptor: Whether the directory can be reached by a short name; None: find out.
    """
    if through_descriptor is None:
        through_descriptor = _DESCRIPTORS.is_dir()
    with opened(directory) as descriptor:
        remove(directory)
        if through_descriptor:
            return _bind_private(f"{_DESCRIPTORS}/{descriptor}/{SOCKET}")
        if len(os.fsencode(directory / SOCKET)) <= _LONGEST:
            return _bind_private(os.fspath(directory / SOCKET))
        # 4 ms, and every client imports this module.
        import tempfile  # noqa: PLC0415

        elsewhere = Path(tempfile.mkdtemp(prefix=_ELSEWHERE), SOCKET)
        bound = _bind_private(os.fspath(elsewhere))
        written = os.open(POINTER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=descriptor)
        with os.fdopen(written, "wb") as pointer:
            pointer.write(os.fsencode(elsewhere))
        return bound


def _bind_private(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(path)
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def remove(directory: Path) -> None:
    """Take the socket away. Nothing there is fine too."""
    pointer = directory / POINTER
    if pointer.exists():
        elsewhere = Path(os.fsdecode(pointer.read_bytes()))
        if elsewhere.name == SOCKET and elsewhere.parent.name.startswith(_ELSEWHERE) and elsewhere.parent.is_dir():
            elsewhere.unlink(missing_ok=True)
            elsewhere.parent.rmdir()
        pointer.unlink()
    (directory / SOCKET).unlink(missing_ok=True)


def connect(directory: Path, timeout: float) -> socket.socket | None:
    """Connect to whoever listens in a directory; None when nobody does.

    Raises:
        UnsafeDirectoryError: The directory, or whoever listens there, is not this user's.
        TimeoutError: Too many callers were waiting already.
    """
    try:
        with opened(directory) as descriptor:
            return _connect(directory, descriptor, timeout)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def _connect(directory: Path, descriptor: int, timeout: float) -> socket.socket:
    path = f"{_DESCRIPTORS}/{descriptor}/{SOCKET}" if _DESCRIPTORS.is_dir() else os.fspath(directory / SOCKET)
    pointer = directory / POINTER
    if pointer.exists():
        path = os.fsdecode(pointer.read_bytes())
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _reach(connected, path, time.monotonic() + timeout)
        connected.settimeout(timeout)
        _judge_listener(directory, peer_user(connected))
    except BaseException:
        connected.close()
        raise
    return connected


def _reach(connected: socket.socket, path: str, deadline: float) -> None:
    """Connect, and wait while so many callers are waiting that there is no place in the queue."""
    connected.settimeout(0)  # otherwise it would block there, for as long as it takes
    while True:
        try:
            connected.connect(path)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "too many callers are waiting") from None
            time.sleep(_QUEUE_PAUSE)
        else:
            return


def _judge_listener(directory: Path, owner: int) -> None:
    if owner != os.getuid():
        raise UnsafeDirectoryError(f"The process that listens in {directory} belongs to user {owner}, not to you.")


def peer_user(connected: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel tells it.

    Source: unix(7) SO_PEERCRED; macOS <sys/un.h> LOCAL_PEERCRED, struct xucred.
    """
    if sys.platform == "darwin":
        _, user = struct.unpack_from("=II", connected.getsockopt(0, 0x001, 128))
        return int(user)
    _, user, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)
