"""The record of what was generated: the hash of each file, and the steps that can be undone.

Kept in `.microlith/generated.json`, so it belongs to one checkout and is not shared. Without it,
files count as written by hand.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from microlith_cli.project import STATE
from microlith_cli.scaffolding.errors import DamagedManifestError

NAME = "generated.json"
_VERSION = 1
_LARGEST = 16 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One run of `microlith new`.

    Attributes:
        what: What was asked for, such as "command auth.reset_password".
        added: The files it added, each with its hash.
        folders: The folders it made, outermost first.
        uses: Files that were there and that the added ones need.
    """

    what: str
    added: Mapping[str, str]
    folders: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


@dataclass(slots=True)
class Manifest:
    """All that was generated in one checkout.

    Attributes:
        files: Path to the hash of what was written there.
        steps: Oldest first.
    """

    files: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def last(self, what: str) -> Step | None:
        """The last step of that name; None when there is none."""
        return next((step for step in reversed(self.steps) if step.what == what), None)

    def users(self, path: str, *, but: Step) -> list[str]:
        """Which other steps need a file."""
        return [step.what for step in self.steps if step is not but and path in step.uses]

    def encode(self) -> bytes:
        """Write it down."""
        steps = [
            {"what": s.what, "added": dict(s.added), "folders": list(s.folders), "uses": list(s.uses)}
            for s in self.steps
        ]
        return json.dumps({"version": _VERSION, "files": self.files, "steps": steps}, indent=1).encode() + b"\n"


def digest(content: bytes) -> str:
    """The hash of a file's content."""
    return hashlib.sha256(content).hexdigest()


def manifest_path(root: Path) -> Path:
    """Where the record of a project lies."""
    return root / STATE / NAME


def read_manifest(root: Path) -> Manifest:
    """Read a project's record; empty when there is none.

    Raises:
        DamagedManifestError: It is there and cannot be read.
    """
    path = manifest_path(root)
    shown = f"{STATE}/{NAME}"
    try:
        if path.stat().st_size > _LARGEST:
            raise DamagedManifestError(shown, f"it has more than {_LARGEST} bytes")
        return _decode(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return Manifest()
    except OSError as error:
        raise DamagedManifestError(shown, error.strerror or "it cannot be opened") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedManifestError(shown, f"{type(error).__name__}: {error}") from error


def _decode(document: Any) -> Manifest:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r} is not {_VERSION}")
    steps = [
        Step(str(each["what"]), _hashes(each["added"]), _paths(each["folders"]), _paths(each["uses"]))
        for each in document["steps"]
    ]
    return Manifest(_hashes(document["files"]), steps)


def _hashes(document: Any) -> dict[str, str]:
    return {_path(path): str(hash_) for path, hash_ in document.items()}


def _paths(document: Any) -> tuple[str, ...]:
    return tuple(_path(path) for path in document)


def _path(text: Any) -> str:
    """A path that stays below the root; what is undone is deleted by these names."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != text or text == ".":
        raise ValueError(f"{text!r} is no path below the project")
    return path.as_posix()
