"""The setting `otel`: spans of every message, for an application that does not make them itself.

Only where an application really runs; whoever looks at one exports nothing.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microlith.urls import masked
from microlith_cli.project import Project

if TYPE_CHECKING:
    from microlith import Microlith
    from microlith.middlewares import OpenTelemetry

_DEFAULT = "http://localhost:4318"
_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of one running application.

    Attributes:
        telemetry: What makes and exports them.
        where: Where they go, for people.
    """

    telemetry: "OpenTelemetry"
    where: str


def receiver(asked: bool | str) -> str:
    """Say where spans go that are exported as a setting asks: its url, or else as OpenTelemetry's own variables say."""
    if isinstance(asked, str):
        return asked
    return next(filter(None, map(os.environ.get, _VARIABLES)), _DEFAULT)


def add_spans(app: "Microlith", project: Project) -> Spans | None:
    """Have an application make spans, as its project is set; None when it is not, or when it makes them already.

    Raises:
        WiringError: What that needs is not installed.
    """
    asked = project.config.otel
    if not asked:
        return None
    # Loads the libraries of OpenTelemetry, which are an extra.
    from microlith.middlewares import OpenTelemetry  # noqa: PLC0415

    if any(isinstance(one, OpenTelemetry) for one in app.middleware):
        return None
    endpoint = asked if isinstance(asked, str) else None
    telemetry = OpenTelemetry.exporting(app.name, endpoint)
    app.middleware = (*app.middleware, telemetry)
    return Spans(telemetry, masked(receiver(asked)))
