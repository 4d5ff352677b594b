"""The supervisor's own facts: what happened to the worker, in the form of all other facts.

Knows the form only (CloudEvents 1.0).
"""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microlith.ids import new_id

_LATEST = 10.0
"""Seconds after which a file's time of change says nothing about this reload."""


def notice(app: str, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Make a fact of type `microlith.KIND`."""
    return {
        "specversion": "1.0",
        "id": new_id(),
        "source": f"/{app}",
        "type": f"microlith.{kind}",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def saved_ms_ago(files: Iterable[Path]) -> float | None:
    """Milliseconds since the newest of some files was saved; None when that cannot be told."""
    times = [file.stat().st_mtime for file in files if file.is_file()]
    ago = time.time() - max(times, default=0.0)
    return round(ago * 1000, 1) if 0 <= ago < _LATEST else None


def shown_paths(root: Path, files: Iterable[Path]) -> list[str]:
    """Write paths the way people read them: from the project's root, in order."""
    return sorted(str(file.relative_to(root)) if file.is_relative_to(root) else str(file) for file in files)
