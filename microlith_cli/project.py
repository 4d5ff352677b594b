"""The project: the folder with the pyproject.toml that has `[tool.microlith]`, and its application.

Finding a project reads one file. Loading its application imports the user's code, which only the
worker and the once mode do.

Starts nothing.
"""

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from microlith_cli import sharing
from microlith_cli.config import Config, read_config, read_toml
from microlith_cli.errors import AppLoadError, ConfigError, NoProjectError, nearest

if TYPE_CHECKING:
    from microlith import Microlith

STATE = ".microlith"
COMPONENT = "MICROLITH_COMPONENT"
"""Environment variable that names the components of the process that is meant."""
_TRACE = "trace.jsonl"  # as `microlith.tracing.log.CURRENT`, which most commands need not import
_STORE = "events.db"  # as in `microlith.places.DEFAULT_STORE`, likewise
_LOCK = "control.lock"  # as `microlith_cli.control.server.LOCK`, likewise
_APP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Project:
    """One project on disk.

    Attributes:
        root: The folder of its pyproject.toml, absolute.
        config: Its settings.
        number: Which of several processes that share a store is meant; 1 for the first, and where there is one.
    """

    root: Path
    config: Config
    number: int = 1

    @property
    def state(self) -> Path:
        """Its own folder for socket, lock, logs and the default store; may not exist yet.

        A process that runs some components has one below it; MICROLITH_COMPONENT says which is meant.

        Raises:
            ConfigError: That variable holds what is no name of a component.
        """
        return sharing.folder_of(self._first, self.number, whole=not meant())

    @property
    def _first(self) -> Path:
        """The folder of the first of several processes that share a store, and of the only one."""
        names = meant()
        for name in names:
            if not name.isidentifier():
                raise ConfigError(f"{name!r} is no name of a component.", hint="It is set by MICROLITH_COMPONENT.")
        return self.root / STATE / "_".join(sorted(names))

    def numbered(self, number: int) -> Self:
        """The same project, for another one of the processes that share its store."""
        return replace(self, number=number)

    @property
    def parts(self) -> list[str]:
        """The processes of some of its components that run or ran, by the names of their folders; none where one is meant.

        Those that share a store are named once.
        """
        if meant():
            return []
        names = {path.parent.name for file in (_TRACE, _LOCK) for path in self._first.glob(f"*/{file}")}
        return sorted({sharing.base_of(name) for name in names if not sharing.is_number(name)})

    def places(self, part: str = "") -> dict[str, Path]:
        """The folders of the processes that run or ran what is meant, or one of the `parts`, by what each is called.

        One process, but for those that share a store: "stock", "stock.2"; of the whole application "shop", "shop.2".
        """
        first = self._first / part
        found = sharing.folders_of(first, whole=not (part or meant()))
        return {sharing.numbered(part or self._named, number): path for number, path in found.items()}

    @property
    def process(self) -> str:
        """What the process that is meant is called, as in `places`."""
        return sharing.numbered(self._named, self.number)

    @property
    def _named(self) -> str:
        return self._first.name if meant() else self.name.replace(".", "-")

    @property
    def ran_whole(self) -> bool:
        """Whether the whole application has ever run here, in one process."""
        return any((self.root / STATE / file).exists() for file in (_LOCK, _STORE))

    @property
    def traces(self) -> list[Path]:
        """The folders of the trace logs that tell of what is meant: those of its processes, and of the whole those of its components, too."""
        return [path for name in ("", *self.parts) for path in self.places(name).values()]

    @property
    def app(self) -> str:
        """Where its application is, such as "shop.app:app".

        Raises:
            ConfigError: It is not said, or not in that form.
        """
        app = self.config.text("app")
        if app is None or not _APP.fullmatch(app):
            raise ConfigError(
                "[tool.microlith] does not say where the application is."
                if app is None
                else f"{app!r} names no application (set by {self.config.origin('app')}).",
                hint='Write app = "package.module:name", such as app = "shop.app:app".',
            )
        return app

    @property
    def name(self) -> str:
        """What a person calls it: the project's own name, or its folder's."""
        table = self.config.document.get("project")
        named = table.get("name") if isinstance(table, dict) else None
        return named if isinstance(named, str) else self.root.name


def meant() -> list[str]:
    """Return the components of the process that is meant; none for the one that runs all.

    As `microlith.places.placed`, which a client of a running application does not import.
    """
    return [name.strip() for name in os.environ.get(COMPONENT, "").split(",") if name.strip()]


def find_project(start: Path | None = None) -> Project:
    """Find the project that a folder lies in: the nearest one upward.

    Args:
        start: Where to begin; None: the current folder.

    Raises:
        NoProjectError: There is none.
        ConfigError: Its pyproject.toml cannot be read.
    """
    here = (Path.cwd() if start is None else start).absolute()
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and "microlith" in _tools(path):
            return Project(folder, read_config(path))
    raise NoProjectError(str(here))


def _tools(path: Path) -> Mapping[str, Any]:
    tool = read_toml(path).get("tool")
    return tool if isinstance(tool, dict) else {}


def load_app(project: Project) -> "Microlith":
    """Import the project's application. Runs the user's code.

    Raises:
        AppLoadError: A module does not import, or the name is not an application.
    """
    module_name, _, name = project.app.partition(":")
    root = str(project.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    importlib.invalidate_caches()
    module = _import(module_name, project)
    app = getattr(module, name, None)
    # The runtime is heavy, and the user's module has imported it by now.
    from microlith import Microlith  # noqa: PLC0415

    if isinstance(app, Microlith):
        app.trace_directory = project.state  # where `microlith trace` looks, wherever the store is
        app.store_url = project.config.text("store.url") or app.store_url
        app.buses |= project.config.buses
        return app
    names = [key for key, value in vars(module).items() if isinstance(value, Microlith)]
    raise AppLoadError(
        f"{module_name} has no Microlith named {name!r}.",
        hint=f"Set app = {f'{module_name}:{names[0]}'!r} in [tool.microlith]."
        if names
        else f"Define {name} = Microlith(...) there, or set app in [tool.microlith].",
    )


def _import(module_name: str, project: Project) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _missing_module(error, module_name, project) from error
    except (Exception, SystemExit) as error:  # a module that ends the process does not end this one
        raise describe_failure(error, project.root) from error


def _missing_module(error: ModuleNotFoundError, wanted: str, project: Project) -> AppLoadError:
    missing = error.name or ""
    if missing and (wanted == missing or wanted.startswith(f"{missing}.")):
        folders = [path.name for path in project.root.iterdir() if (path / "__init__.py").is_file()]
        close = nearest(missing.partition(".")[0], folders)
        return AppLoadError(
            f"There is no module {missing!r} in {project.root} (app = {project.app!r}).",
            hint=f"Did you mean {close!r}?" if close else "Correct app in [tool.microlith].",
        )
    described = describe_failure(error, project.root)
    top = missing.partition(".")[0]
    if (project.root / top).is_dir() or (project.root / f"{top}.py").is_file():
        described.hint = "The module is misspelt, or its file is missing."
    elif _declared(top, project.config.document):
        described.hint = "The project declares it as a dependency; install what it declares: pip install -e ."
    else:
        described.hint = f"Install {top!r} and declare it under [project] dependencies."
    return described


def _declared(module: str, document: Mapping[str, Any]) -> bool:
    """Whether a project declares the distribution of a module; by name, for nothing else can be known."""
    table = document.get("project")
    listed = table.get("dependencies") if isinstance(table, dict) else None
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in listed or () if isinstance(text, str)]
    plain = [re.sub(r"[-_.]+", "-", name).lower() for name in names]
    wanted = re.sub(r"[-_.]+", "-", module).lower()
    return any(wanted == name or name.startswith(f"{wanted}-") or name.endswith(f"-{wanted}") for name in plain)


def describe_failure(error: BaseException, root: Path) -> AppLoadError:
    """Say where the user's own code went wrong: its file, line and text, without the import machinery."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        where = _shown(error.filename, root)
        return AppLoadError(
            f"SyntaxError: {error.msg}", file=where, line=error.lineno or 0, source=(error.text or "").strip()
        )
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename, root)]
    if not frames:
        return AppLoadError(reason)
    last = frames[-1]
    return AppLoadError(
        reason, file=_shown(last.filename, root), line=last.lineno or 0, source=(last.line or "").strip()
    )


def _is_own(filename: str, root: Path) -> bool:
    path = Path(filename)
    return path.is_relative_to(root) and "site-packages" not in path.parts


def _shown(filename: str, root: Path) -> str:
    path = Path(filename)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else filename
