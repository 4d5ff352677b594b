"""Tools for testing an application built with microlith.

`in_memory(app)` runs an application on a store in memory; the pytest plugin offers it as a fixture.
`given(...).when(...).then(...)` checks what a command leads to. The contract suites that every event
store passes are shipped here too.
"""

from microlith.testing.given_when_then import given
from microlith.testing.in_memory import in_memory

__all__ = ["given", "in_memory"]
