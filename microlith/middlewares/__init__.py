"""The middlewares that come with microlith: retries, logging, time limits, validation, authorisation.

Each is a `Middleware` as anybody could write it, in one file, and none is used unless it is given
to the application.
"""

from microlith.middlewares.authorisation import Authorisation, NotAllowedError, acting_as, current_principal
from microlith.middlewares.log_lines import Logging
from microlith.middlewares.retries import Retrying
from microlith.middlewares.time_limits import TimeLimitError, Timeout
from microlith.middlewares.validation import Validation

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
