"""What the crash tests share: a seed, and the library of disk faults, compiled once."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def disk_faults(require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile faults.c; to be preloaded in a process whose disk should fail."""
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([require("gcc"), *options, "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)


@pytest.fixture
def seed(record_property: Callable[[str, object], None]) -> int:
    """Choose the seed of a run, or take the one of `MICROLITH_SEED`, and print it."""
    seed = int(os.environ.get("MICROLITH_SEED", random.SystemRandom().randrange(2**32)))
    record_property("seed", seed)
    print(f"MICROLITH_SEED={seed}")  # noqa: T201 (shown when a test fails)
    return seed
