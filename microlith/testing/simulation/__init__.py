"""Simulation: an application in virtual time, where a seed decides whatever is left to chance.

`simulate(app, scenario, seed=7)` runs one seed, `@simulated(app, seeds=100)` makes a test of many. The real buses,
lanes, waits and handlers run; the loop, the clock, the ids and the disk are simulated, and may fail as `Faults` says.
"""

from microlith.testing.simulation.faults import Faults
from microlith.testing.simulation.running import Simulation, simulate, simulated
from microlith.testing.simulation.telling import SimulationFailedError
from microlith.testing.simulation.world import World

__all__ = ["Faults", "Simulation", "SimulationFailedError", "World", "simulate", "simulated"]
