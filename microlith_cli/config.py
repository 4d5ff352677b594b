"""The settings of a project: `[tool.microlith]` in its pyproject.toml, then the environment.

Each value remembers where it came from: `MICROLITH_STORE_URL` overrides `store.url`. A setting that nothing
would obey is an error, for it must not look as if it did.

Opens nothing that a setting names.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from microlith_cli.errors import ConfigError, nearest

VARIABLES = {
    "MICROLITH_APP": "app",
    "MICROLITH_STORE_URL": "store.url",
    "MICROLITH_COMMAND_BUS": "buses.command",
    "MICROLITH_QUERY_BUS": "buses.query",
    "MICROLITH_EVENT_BUS": "buses.event",
    "MICROLITH_OTEL": "otel",
}
KEYS = tuple(VARIABLES.values())
BUSES = "buses."
TYPES = "buses.types."
"""What a setting begins with that says what carries one message type."""
IN_PROCESS = "memory:"
SCHEMES = ("memory", "rabbitmq", "rabbitmqs", "kafka", "kafkas")
"""What the runtime knows, which a client of a running application does not import; a test holds them together."""
DEFAULTS = {key: IN_PROCESS for key in KEYS if key.startswith(BUSES)} | {"otel": False}
"""What holds where nothing is set; the other settings have none, or the application's own."""

_BROKERS = tuple(f"{scheme}://" for scheme in SCHEMES if f"{scheme}:" != IN_PROCESS)
_SHOWN = ", ".join(_BROKERS)
_SWITCHED = {"true": True, "false": False}
"""What `otel` may be in an environment variable, beside a url."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from, such as "pyproject.toml" or "MICROLITH_APP"."""

    value: Any
    origin: str


class Config:
    """The settings of one project, by dotted key.

    Attributes:
        settings: Every setting there is; what is not here has its default.
        document: The whole pyproject.toml.
    """

    def __init__(self, settings: Mapping[str, Setting], document: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self.document = document

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        setting = self.settings.get(key)
        return default if setting is None else setting.value

    def origin(self, key: str) -> str:
        """Where a key's value came from; "default" when nothing sets it."""
        setting = self.settings.get(key)
        return "default" if setting is None else setting.origin

    @property
    def buses(self) -> dict[str, str]:
        """What carries the buses, and single types, as far as it is set: as `Microlith` takes it."""
        return {key.removeprefix(BUSES): self.settings[key].value for key in self.settings if key.startswith(BUSES)}

    def text(self, key: str) -> str | None:
        """A value that must be a text when it is there.

        Raises:
            ConfigError: It is something else.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{key} must be a text, not {value!r}.", hint=f"It is set by {self.origin(key)}.")
        return value

    @property
    def otel(self) -> bool | str:
        """Whether spans are exported, or the url of the receiver that they go to."""
        value = self.get("otel", default=False)
        return _SWITCHED.get(value, value) if isinstance(value, str) else bool(value)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: It cannot be read, or is not TOML; the text says where.
    """
    try:
        return tomli.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}.") from error
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", hint="Mend that line.") from error


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the settings from a pyproject.toml and the environment.

    Raises:
        ConfigError: The file cannot be read, `[tool.microlith]` is no table, or it says what nothing would obey.
    """
    document = read_toml(path)
    table = tool_table(document)
    settings = {key: Setting(value, path.name) for key, value in _flat(table)}
    for variable, key in VARIABLES.items():
        if environ.get(variable):
            settings[key] = Setting(environ[variable], variable)
    for key, setting in settings.items():
        _check(key, setting)
    return Config(settings, document)


def _check(key: str, setting: Setting) -> None:
    if key not in KEYS and not key.startswith(TYPES):
        close = nearest(key, KEYS)
        raise ConfigError(
            f"There is no setting {key!r} (in {setting.origin}, under [tool.microlith]).",
            hint=f"Did you mean {close!r}?" if close else f"The settings are {', '.join(KEYS)}, {TYPES}NAME.",
        )
    if key.startswith(BUSES):
        _check_bus(key, setting)
    if key == "otel" and not _is_otel(setting.value):
        raise ConfigError(
            f"otel is {_masked(repr(setting.value))} (set by {setting.origin}); it is true, false, or the url of a receiver.",
            hint='Such as otel = "http://localhost:4318".',
        )


def _check_bus(key: str, setting: Setting) -> None:
    """Refuse what cannot be the url of a transport. One that begins with a variable is looked at when it is used."""
    url = setting.value
    if isinstance(url, str) and (url == IN_PROCESS or url.startswith((*_BROKERS, "${"))):
        return
    scheme = url.partition(":")[0] if isinstance(url, str) else ""
    close = nearest(scheme, SCHEMES) if scheme not in SCHEMES else scheme
    means = IN_PROCESS if close == "memory" else f"{close}://HOST/"
    raise ConfigError(
        f"{key} is {_masked(repr(url))} (set by {setting.origin}), which names no transport.",
        hint=f"Did you mean {means!r}?" if close else f"Write {IN_PROCESS!r}, or a url that begins with {_SHOWN}.",
    )


def _is_otel(value: Any) -> bool:
    if isinstance(value, str):
        return value in _SWITCHED or value.startswith(("http://", "https://"))
    return isinstance(value, bool)


def tool_table(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `[tool.microlith]` table; empty when there is none.

    Raises:
        ConfigError: It is there and is no table.
    """
    tool = document.get("tool")
    table = tool.get("microlith", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"tool.microlith must be a table, not {table!r}.")
    return table


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _masked(text: str) -> str:
    from microlith.urls import masked  # noqa: PLC0415 (for errors only)

    return masked(text)
