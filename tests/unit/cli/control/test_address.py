import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from microlith_cli.control import address
from microlith_cli.errors import UnsafeDirectoryError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / ".microlith"
    address.make_private(made)
    return made


def talk(directory: Path, bound: socket.socket) -> bytes:
    """Connect from this process and say one byte."""
    with bound:
        bound.listen()
        connected = address.connect(directory, 2)
        assert connected is not None
        with connected, bound.accept()[0] as accepted:
            connected.sendall(b"x")
            return accepted.recv(1)


def test_directory_above_is_made_for_this_user_only_and_none_above_that(tmp_path):
    address.make_private(tmp_path / ".microlith" / "auth")

    assert stat.S_IMODE((tmp_path / ".microlith").stat().st_mode) == 0o700
    with pytest.raises(UnsafeDirectoryError, match="Cannot make"):
        address.make_private(tmp_path / "shop" / ".microlith" / "auth")
    assert not (tmp_path / "shop").exists()


def test_umask_is_what_it_was_when_the_directory_above_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    before = os.umask(0o027)
    try:
        with pytest.raises(UnsafeDirectoryError, match="Cannot make"):
            address.make_private(tmp_path / "file" / ".microlith" / "auth")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0, 0o777])
def test_directory_is_made_for_this_user_only_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        address.make_private(tmp_path / "state")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_directory_that_others_may_only_read_is_closed(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)

    address.make_private(tmp_path / "state")

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_directory_that_others_may_write_into_is_refused(tmp_path, mode):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)

    with pytest.raises(UnsafeDirectoryError, match="may write") as caught:
        address.make_private(tmp_path / "state")

    assert "chmod 700" in caught.value.hint


def test_directory_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to("elsewhere")

    with pytest.raises(UnsafeDirectoryError, match="link"):
        address.make_private(tmp_path / "state")


def test_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").touch()

    with pytest.raises(UnsafeDirectoryError):
        address.make_private(tmp_path / "state")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_directory_of_another_user_is_refused(directory):
    os.chown(directory, 12345, 12345)

    with pytest.raises(UnsafeDirectoryError, match="belongs to user 12345"), address.opened(directory):
        pass


@pytest.mark.parametrize("through_descriptor", [True, False])
@pytest.mark.parametrize(
    "inside", ["short", "with spaces and 'quotes'", "grüße-日本", "x" * 150, "/".join(["deep" * 10] * 20)]
)
def test_socket_is_reached_whatever_the_path(tmp_path, inside, through_descriptor):
    directory = tmp_path / inside / ".microlith"
    directory.parent.mkdir(parents=True)
    address.make_private(directory)

    assert talk(directory, address.bind(directory, through_descriptor=through_descriptor)) == b"x"

    address.remove(directory)
    assert address.connect(directory, 2) is None
    assert list(directory.iterdir()) == []


def test_socket_is_private_from_its_first_moment(directory):
    seen: set[int] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with suppress(FileNotFoundError):
                seen.add(stat.S_IMODE((directory / address.SOCKET).stat().st_mode))

    watcher = threading.Thread(target=watch)
    before = os.umask(0)
    watcher.start()
    try:
        for _ in range(200):
            address.bind(directory).close()
    finally:
        stop.set()
        watcher.join()
        assert os.umask(before) == 0, "the umask was not put back"

    assert seen <= {0o600}


def test_socket_that_nobody_listens_on_is_replaced(directory):
    address.bind(directory).close()

    assert address.connect(directory, 2) is None
    assert talk(directory, address.bind(directory)) == b"x"


def test_nothing_listens_where_there_is_no_directory(tmp_path):
    assert address.connect(tmp_path / "nowhere", 2) is None


def test_pointer_never_makes_a_foreign_file_go_away(directory, tmp_path):
    foreign = tmp_path / "precious.txt"
    foreign.touch()
    (directory / address.POINTER).write_bytes(os.fsencode(foreign))

    address.remove(directory)

    assert foreign.exists()
    assert not (directory / address.POINTER).exists()


def test_peer_is_told_by_the_kernel():
    left, right = socket.socketpair()
    with left, right:
        assert address.peer_user(left) == os.getuid()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can listen as somebody else")
def test_listener_of_another_user_is_not_spoken_to(directory):
    bound = address.bind(directory)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(12345)
        bound.listen()
        os.write(ready[1], b".")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        with pytest.raises(UnsafeDirectoryError, match="belongs to user 12345"):
            address.connect(directory, 2)
    finally:
        os.write(done[1], b".")
        os.waitpid(child, 0)
        bound.close()
        for end in (*ready, *done):
            os.close(end)
