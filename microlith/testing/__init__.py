"""Tools for testing an application built with microlith.

`in_memory(app)` runs an application on a store in memory; the pytest plugin offers it as a fixture.
`given(...).when(...).then(...)` checks what a command leads to. `VirtualClock` is time that passes when a test says so.
`simulate(app, scenario, seed=...)` runs an application in virtual time, with faults that follow from a seed. The contract
suites that every event store passes are shipped here too.
"""

from microlith.testing.given_when_then import given
from microlith.testing.in_memory import in_memory
from microlith.testing.simulation import Faults, Simulation, SimulationFailedError, World, simulate, simulated
from microlith.testing.virtual_clock import VirtualClock

__all__ = [
    "Faults",
    "Simulation",
    "SimulationFailedError",
    "VirtualClock",
    "World",
    "given",
    "in_memory",
    "simulate",
    "simulated",
]
