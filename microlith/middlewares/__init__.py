"""The middlewares that come with microlith: retries, logging, time limits, validation, authorisation, OpenTelemetry.

Each is a `Middleware` as anybody could write it, in one file, and none is used unless it is given
to the application.
"""

from typing import TYPE_CHECKING, Any

from microlith.errors import WiringError
from microlith.middlewares.authorisation import Authorisation, NotAllowedError, acting_as, current_principal
from microlith.middlewares.log_lines import Logging
from microlith.middlewares.retries import Retrying
from microlith.middlewares.time_limits import TimeLimitError, Timeout
from microlith.middlewares.validation import Validation

if TYPE_CHECKING:
    from microlith.middlewares.open_telemetry import OpenTelemetry as OpenTelemetry

# Without OpenTelemetry, which `import *` would load whether its libraries are there or not.
__all__ = [
    "Authorisation",
    "Logging",
    "NotAllowedError",
    "Retrying",
    "TimeLimitError",
    "Timeout",
    "Validation",
    "acting_as",
    "current_principal",
]


def __getattr__(name: str) -> Any:
    # Its libraries are an extra, and are loaded by who uses it.
    if name != "OpenTelemetry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from microlith.middlewares.open_telemetry import OpenTelemetry  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise WiringError(
            f"The middleware OpenTelemetry needs the package {error.name}, which is not installed.",
            hint='Install it: `pip install "microlith[otel]"`.',
        ) from error
    return OpenTelemetry
