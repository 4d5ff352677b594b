"""`microlith new` finds its templates wherever it is installed: from a wheel, and from a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.meta.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WHERE = "from microlith_cli.scaffolding.rendering import template_root; print(template_root())"


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """Run to the end with another folder first among those that are imported from; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    ended = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of this checkout, unpacked: what lies in a user's site-packages."""
    out = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wheel_and_checkout_make_the_same_application(unpacked, tmp_path):
    for name, path in (("wheel", unpacked), ("checkout", ROOT)):
        (tmp_path / name).mkdir()
        run("-m", "microlith_cli", "new", "app", "shop", cwd=tmp_path / name, path=path)

    assert run("-c", WHERE, cwd=tmp_path, path=unpacked).strip() == str(unpacked / "microlith_cli/templates")
    assert made(tmp_path / "wheel") == made(tmp_path / "checkout")
    assert len(made(tmp_path / "wheel")) > 30


def test_installed_tool_makes_an_application(tmp_path):
    """In a developer's environment this is the editable install."""
    run("-m", "microlith_cli", "new", "app", "shop", "--bare", cwd=tmp_path)

    assert (tmp_path / "shop/pyproject.toml").is_file()
