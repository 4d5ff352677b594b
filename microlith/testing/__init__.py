"""Tools for testing an application built with microlith.

`in_memory(app)` runs an application on a store in memory; the pytest plugin offers it as a fixture.
The contract suites that every event store passes are shipped here too.
"""

from microlith.testing.in_memory import in_memory

__all__ = ["in_memory"]
