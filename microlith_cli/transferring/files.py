"""A file that is written as a whole or not at all, and that only this user may read: it may hold secrets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from microlith_cli.errors import UsageError


class FileThereError(UsageError):
    """There is a file already, and nobody said that it may go."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already.", hint="Choose another name, or add --force to replace it.")


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file for writing; it has its name when the block has ended well, and is gone otherwise.

    Raises:
        FileThereError: It is there, and `force` was not said.
        UsageError: It cannot be made there.
    """
    if path.exists() and not force:
        raise FileThereError(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
