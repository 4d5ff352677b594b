"""How long the user's modules took to be imported, one by one: every reload waits for them.

A module's own time is without that of other modules of the project; what it imports from elsewhere counts, and the
slowest of that is named. What was imported before costs nothing any more and is not here.

Imports nothing by itself.
"""

import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

TOLD = 10
"""As many of the slowest modules are told of."""
_ELSEWHERE = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages; a virtual environment may lie inside a project."""


@dataclass(slots=True)
class _Import:
    """One import under way.

    Attributes:
        name: The module.
        file: Where it lies; empty for what has no file.
        is_own: Whether it is one of the project's.
        others: Seconds of modules of the project that it has imported in turn.
        parts: Seconds of each package from elsewhere that it has imported.
    """

    name: str
    file: str
    is_own: bool
    others: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


class ImportTimes:
    """Times of what was imported while `taken` ran.

    Args:
        root: The project's folder; modules below it are the user's.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._under_way = threading.local()
        self._rows: list[dict[str, Any]] = []

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the times of what the block imports."""
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)

    def told(self) -> dict[str, Any]:
        """Say how many `modules` of the project were imported, in how many `ms`, and which were the `slowest`.

        Each of those, the slowest first, has `module`, `file`, its own `ms`, and if most of that was spent in a package from
        elsewhere, `mostly` and `mostly_ms`.
        """
        rows = sorted(self._rows, key=lambda row: -float(row["ms"]))
        return {"modules": len(rows), "ms": round(sum(float(row["ms"]) for row in rows), 1), "slowest": rows[:TOLD]}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as the others do, and have its execution timed. Part of the protocol of `sys.meta_path`."""
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None or finder is self else find(name, path, target)
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        # On the instance, so that the loader stays what it is for whoever asks for resources or source later.
        if isinstance(loader, importlib.machinery.SourceFileLoader | importlib.machinery.ExtensionFileLoader):
            loader.__dict__["exec_module"] = self._timed(spec, loader.exec_module)

    def _timed(self, spec: ModuleSpec, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def timed(module: ModuleType) -> None:
            if spec.loader is not None:
                spec.loader.__dict__.pop("exec_module", None)
            stack = self._stack()
            found = _Import(spec.name, spec.origin or "", self._is_own(spec.origin))
            stack.append(found)
            began = perf_counter()
            try:
                execute(module)
            finally:
                stack.pop()
                self._note(found, stack, perf_counter() - began)

        return timed

    def _stack(self) -> list[_Import]:
        stack: list[_Import] | None = getattr(self._under_way, "stack", None)
        if stack is None:
            stack = self._under_way.stack = []
        return stack

    def _note(self, found: _Import, stack: list[_Import], seconds: float) -> None:
        if found.is_own:
            self._rows.append(self._row(found, seconds - found.others))
        if not stack:
            return
        above = stack[-1]
        if found.is_own:
            above.others += seconds
            return
        above.others += found.others  # a package that imports the project's modules by their names
        if above.is_own:
            top = found.name.partition(".")[0]
            above.parts[top] = above.parts.get(top, 0.0) + seconds - found.others

    def _row(self, found: _Import, seconds: float) -> dict[str, Any]:
        row: dict[str, Any] = {"module": found.name, "file": found.file, "ms": round(seconds * 1000, 1)}
        slowest = max(found.parts, key=lambda name: found.parts[name], default="")
        if slowest and found.parts[slowest] > seconds / 2:
            row |= {"mostly": slowest, "mostly_ms": round(found.parts[slowest] * 1000, 1)}
        return row

    def _is_own(self, origin: str | None) -> bool:
        if not origin:
            return False
        path = Path(origin)
        return path.is_relative_to(self._root) and not _ELSEWHERE.intersection(path.parts)
