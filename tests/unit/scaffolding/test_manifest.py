"""The record of what was generated can be read back, or is refused."""

import json

import pytest

from microlith_cli.scaffolding.errors import DamagedManifestError
from microlith_cli.scaffolding.manifest import Manifest, Step, manifest_path, read_manifest


def test_manifest_is_read_as_it_was_written(tmp_path):
    step = Step("command auth.login", {"shop/auth/login.py": "12"}, ("shop/auth",), ("pyproject.toml",))
    manifest = Manifest({"shop/auth/login.py": "12"}, [step])
    manifest_path(tmp_path).parent.mkdir()
    manifest_path(tmp_path).write_bytes(manifest.encode())

    assert read_manifest(tmp_path) == manifest


def test_manifest_that_is_not_there_is_empty(tmp_path):
    assert read_manifest(tmp_path / "nowhere") == Manifest()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".", "", "a//b"])
def test_manifest_that_names_files_outside_is_refused(tmp_path, path):
    step = {"what": "app shop", "added": {path: "12"}, "folders": [], "uses": []}
    manifest_path(tmp_path).parent.mkdir()
    manifest_path(tmp_path).write_text(json.dumps({"version": 1, "files": {}, "steps": [step]}), "utf-8")

    with pytest.raises(DamagedManifestError):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version":2}', '{"version":1}', "\xff", "[" * 100_000])
def test_manifest_that_is_damaged_is_refused(tmp_path, text):
    manifest_path(tmp_path).parent.mkdir()
    manifest_path(tmp_path).write_text(text, "latin-1")

    with pytest.raises(DamagedManifestError) as caught:
        read_manifest(tmp_path)

    assert caught.value.hint
