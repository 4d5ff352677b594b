"""What the acceptance tests share: a project on disk."""

from pathlib import Path

import pytest

from tests.acceptance.live_project import make_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a small project that nothing runs yet."""
    return make_project(tmp_path / "echo")
