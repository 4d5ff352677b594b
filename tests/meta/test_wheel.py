"""What a user gets who installs microlith: built, installed and started as they would.

Needs no network: the build runs in this environment, and the fresh one borrows its dependencies.
"""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.meta.tree import PACKAGES, ROOT, own_files, shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run to the end and return what it printed; on failure its output is the message."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel that was built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh environment that has the wheel."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel, cwd=home)
    (site,) = home.glob("lib/python3.*/site-packages")
    # A path in a .pth file comes last and its own .pth files are not read: the checkout stays out of reach.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return home / "bin"


def expected_in_wheel() -> set[str]:
    """The files of both packages, with the templates inside the tool."""
    names = {shown(path) for path in own_files()}
    packages = {name for name in names if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    return packages | {f"microlith_cli/{name}" for name in names if name.startswith("templates/")}


def test_wheel_holds_both_packages_and_the_templates(built):
    (wheel,) = built.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == expected_in_wheel()


def test_sdist_holds_what_the_tests_need(built):
    (sdist,) = built.glob("*.tar.gz")

    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}

    assert {shown(path) for path in own_files() if shown(path).startswith(("templates/", "tests/"))} <= held
    assert {"CHANGELOG.md", "LICENSE", "pyproject.toml"} <= held


def test_installed_package_is_the_one_that_is_imported(installed):
    for package in PACKAGES:
        where = run(installed / "python", "-c", f"import {package}; print({package}.__file__)", cwd=installed)

        assert Path(where.strip()).is_relative_to(installed.parent)


def test_readme_is_the_text_of_the_package(built):
    (wheel,) = built.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()

    readme = ROOT / "README.md"
    assert not readme.exists() or readme.read_text("utf-8").strip() in metadata


def test_installed_tool_says_its_version(installed):
    printed = run(installed / "microlith", "--version", cwd=installed)

    assert printed.split()[-1] == "0.1.0"


def test_installed_tool_finds_its_templates(installed, tmp_path):
    run(installed / "microlith", "new", "app", "shop", cwd=tmp_path)

    assert (tmp_path / "shop" / "shop" / "app.py").is_file()
