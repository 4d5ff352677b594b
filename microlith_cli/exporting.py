"""Exporting: the files that run an application somewhere else, as its configuration stands.

One process for each component when the buses are carried by brokers; one for all of them when they are in memory. Two of each
where they share a store, and as many as are wanted. Urls
name the broker of the place they are for, and never a secret: that comes from the environment.

Makes texts; writes nothing.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from microlith_cli.config import Config
from microlith_cli.errors import UsageError
from microlith_cli.scaffolding.rendering import render
from microlith_cli.sharing import shares_store

Target = Literal["compose", "systemd", "kubernetes"]
TARGETS: tuple[Target, ...] = ("compose", "systemd", "kubernetes")

_SERVICES = {"rabbitmq": ("rabbitmq", 5672), "kafka": ("kafka", 9092), "postgresql": ("postgres", 5432)}
"""For each scheme: what its service is called, and where it listens."""
_EXTRAS = {"rabbitmq": "rabbitmq", "kafka": "kafka", "postgresql": "postgres"}
_VARIABLES = {
    "buses.command": "MICROLITH_COMMAND_BUS",
    "buses.query": "MICROLITH_QUERY_BUS",
    "buses.event": "MICROLITH_EVENT_BUS",
    "store.url": "MICROLITH_STORE_URL",
}
_UNFIT = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the application there.

    Attributes:
        name: What its service is called.
        component: The component it runs; "" for all.
    """

    name: str
    component: str


def export(target: Target, app: str, components: Iterable[str], config: Config, folder: str) -> dict[str, str]:
    """Make the files for one kind of place.

    Args:
        target: Which kind.
        app: Name of the application.
        components: Its components.
        config: Its settings.
        folder: Where the files are to lie, from the project's root: a build starts from the root.

    Returns:
        Name of each file, and its text.

    Raises:
        UsageError: A url is of a kind that nothing is known about.
    """
    name = _UNFIT.sub("-", app.lower()).strip("-") or "app"
    urls = {key: url for key in _VARIABLES if (url := config.text(key)) is not None and _scheme(url) in _SERVICES}
    carried = any(key.startswith("buses.") for key in urls)
    processes = [Process(_unit(each), each) for each in components] if carried else [Process(name, "")]
    schemes = list(dict.fromkeys(_scheme(url) for url in urls.values()))
    values: dict[str, object] = {
        "shared": shares_store(config),
        "app": name,
        "story": "one process for each component" if carried else "all components in one process",
        "context": os.path.relpath(".", folder) if folder else ".",
        "extras": f"[{','.join(_EXTRAS[scheme] for scheme in schemes)}]" if schemes else "",
        "depends": [_SERVICES[scheme][0] for scheme in schemes] if target == "compose" else [],
        "environment": {_VARIABLES[key]: _url(target, url, name) for key, url in urls.items()},
        "processes": processes,
        "secrets": [_secret(scheme) for scheme in schemes if scheme != "kafka"],
        "services": "".join(f" {_SERVICES[scheme][0]}.service" for scheme in schemes),
        "unit": _unit_of(name),
    }
    files = render(f"export_{target}", values)
    if target == "systemd":
        for process in processes:
            more = {"process": process, "unit_name": _unit_of(name)(process)}
            files |= render("export_systemd_process", values | more)
    return files


def write(files: Mapping[str, str], folder: Path, *, force: bool) -> None:
    """Write the files into a folder; none of them while one is in the way.

    Raises:
        UsageError: Files of these names are there, and `force` is not set; or the folder cannot be written.
    """
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise UsageError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, in {folder}.",
            hint="Name another folder with --to, or write --force to replace them.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            unfinished = folder / f".{name}.new"
            unfinished.write_text(text, "utf-8")
            unfinished.replace(folder / name)
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error


def _scheme(url: str) -> str:
    scheme = url.partition(":")[0]
    return scheme.removesuffix("s") if scheme in ("rabbitmqs", "kafkas") else scheme


def _secret(scheme: str) -> str:
    return f"{_SERVICES[scheme][0].upper()}_PASSWORD"


def _url(target: Target, url: str, app: str) -> str:
    """Write a url as that place needs it: its own host there, and a reference where the password was."""
    scheme = _scheme(url)
    name, port = _SERVICES[scheme]
    parts = urlsplit(url)
    secret = _secret(scheme)
    if target == "compose":
        user = "" if scheme == "kafka" else f"{app}:${{{secret}:?set {secret}}}@"
        path = f"/{app}" if scheme == "postgresql" else parts.path
        return f"{scheme}://{user}{name}:{port}{path}{f'?{parts.query}' if parts.query else ''}"
    if parts.password is None:
        return url
    reference = f"$({secret})" if target == "kubernetes" else "CHANGE-ME"
    hosts = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{reference}@{hosts}").geturl()


def _unit(component: str) -> str:
    return _UNFIT.sub("-", component.lower().replace("_", "-")).strip("-")


def _unit_of(app: str) -> Callable[[Process], str]:
    def unit(process: Process) -> str:
        return f"{app}-{process.name}" if process.component else app

    return unit
