"""Running simulations: one seed, or many as a test."""

import asyncio
import functools
import gc
import inspect
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from random import Random
from typing import Any

from microlith.application import Microlith
from microlith.errors import MicrolithError
from microlith.testing.simulation.checks import examine
from microlith.testing.simulation.faults import Faults
from microlith.testing.simulation.history import History
from microlith.testing.simulation.loop import NothingLeftError, VirtualLoop
from microlith.testing.simulation.nature import Patches, seeded_nature
from microlith.testing.simulation.observing import observed
from microlith.testing.simulation.telling import SimulationFailedError
from microlith.testing.simulation.threads import Threads
from microlith.testing.simulation.world import World

Scenario = Callable[[World], Awaitable[object]]
LONGEST = 3600.0
"""Virtual seconds a scenario may take."""


class Simulation:
    """What a simulation came to.

    Attributes:
        seed: What it followed from.
        history: Everything that happened, a line for each fact; the same for the same seed.
        digest: A fingerprint of the history.
        seconds: How long it took in virtual time.
        lives: How often the application was started.
        committed: How many messages were committed.
        violations: What was broken; always none in what `simulate` returns.
    """

    def __init__(self, seed: int, history: History, lives: int, seconds: float) -> None:
        self.seed = seed
        self.history = list(history.lines)
        self.digest = history.digest
        self.seconds = seconds
        self.lives = lives
        self.committed = len(history.committed)
        self.violations = list(history.violations)


def simulate(
    app: Microlith | Callable[[], Microlith],
    scenario: Scenario,
    *,
    seed: int = 0,
    faults: Faults | None = None,
    check: Scenario | None = None,
    longest: float = LONGEST,
) -> Simulation:
    """Run an application through a scenario, in virtual time, with everything that chance decides taken from a seed.

    Args:
        app: The application, or what makes one; on a store in memory in any case.
        scenario: Acts as the clients of the application do.
        seed: Another one gives another order, other delays and other faults; the same one gives the same.
        faults: What may go wrong; by default nothing but small delays.
        check: Looked at once everything has come to rest; raise an AssertionError for what must not be.
        longest: Virtual seconds the scenario may take.

    Raises:
        SimulationFailedError: A promise was broken; tells the seed, the tree of messages and how to run it again.
    """

    # A loop that is running here stands still meanwhile, and nothing of its context is seen.
    def run() -> World:
        return Context().run(_run, app, scenario, seed, faults or Faults(), check, longest)

    world = run()
    history = world.history
    if history.violations:
        repeats = run().history.digest == history.digest
        raise SimulationFailedError(seed, history, repeats=repeats) from history.error
    return Simulation(seed, history, world.life, world.now)


def simulated(
    app: Microlith | Callable[[], Microlith],
    *,
    seeds: int | Iterable[int] = 100,
    faults: Faults | None = None,
    check: Scenario | None = None,
    longest: float = LONGEST,
) -> Callable[[Callable[..., Awaitable[object]]], Callable[..., None]]:
    """Make a test of a scenario, which is run with many seeds; for pytest, or to be called.

    The scenario's first parameter is the world; others are pytest's fixtures. MICROLITH_SEED=7 in the environment runs
    one seed, MICROLITH_SEEDS=100000 that many, MICROLITH_SEEDS=5000-6000 a range.
    """

    def decorate(scenario: Callable[..., Awaitable[object]]) -> Callable[..., None]:
        @functools.wraps(scenario)
        def test(*args: Any, **fixtures: Any) -> None:
            for seed in _chosen(seeds):
                simulate(
                    app,
                    lambda world: scenario(world, *args, **fixtures),
                    seed=seed,
                    faults=faults,
                    check=check,
                    longest=longest,
                )

        signature = inspect.signature(scenario)
        test.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]  # pytest reads it
        del test.__wrapped__
        return test

    return decorate


def _chosen(seeds: int | Iterable[int]) -> Iterable[int]:
    one, many = os.environ.get("MICROLITH_SEED"), os.environ.get("MICROLITH_SEEDS")
    try:
        if one:
            return [int(one)]
        if many:
            first, dash, last = many.partition("-")
            return range(int(first), int(last) + 1) if dash else range(int(many))
    except ValueError:
        raise MicrolithError(
            f"MICROLITH_SEED={one or ''} MICROLITH_SEEDS={many or ''} names no seeds.",
            hint="Write MICROLITH_SEED=7, MICROLITH_SEEDS=1000 or MICROLITH_SEEDS=5000-6000.",
        ) from None
    return range(seeds) if isinstance(seeds, int) else seeds


def _run(
    app: Microlith | Callable[[], Microlith],
    scenario: Scenario,
    seed: int,
    faults: Faults,
    check: Scenario | None,
    longest: float,
) -> World:
    """Run once, and note what was broken."""
    loop = VirtualLoop(Random(seed))  # noqa: S311 (chance that can be had again is the point)
    threads = Threads(loop)
    loop.borrow = threads.borrow
    history = History(loop)
    patches = Patches()
    collects, outer = gc.isenabled(), asyncio._get_running_loop()  # noqa: SLF001 (the public one raises without)
    asyncio._set_running_loop(None)  # noqa: SLF001
    gc.disable()  # what it finalises, it finalises at moments that no seed decides
    try:
        with seeded_nature(loop, seed), observed(history):
            world = World(app if isinstance(app, Microlith) else app(), loop, seed, faults, history)
            world.end_threads = threads.abandon
            world.inhabit(patches)
            loop.set_exception_handler(lambda _, context: history.violated(_unheard(context)))
            try:
                loop.run_until_complete(_live(world, scenario, check, longest))
            except NothingLeftError:
                history.violated("Nothing is left that could happen, and somebody still waits.")
            threads.abandon()
            with suppress(NothingLeftError):
                loop.run_until_complete(world.end())
            _tear_down(loop)
    finally:
        patches.take_back()
        loop.close()
        asyncio._set_running_loop(outer)  # noqa: SLF001
        if collects:
            gc.enable()
    return world


def _unheard(context: dict[str, Any]) -> str:
    return f"An error that nobody heard of: {context.get('message')}: {context.get('exception')!r}"


async def _live(world: World, scenario: Scenario, check: Scenario | None, longest: float) -> None:
    history = world.history
    await world.start()
    acting = asyncio.ensure_future(scenario(world))
    await asyncio.wait({acting}, timeout=longest)
    if not acting.done():
        history.violated(f"The scenario did not end within {longest:g} virtual seconds.")
        acting.cancel()
        await asyncio.wait({acting})
    elif acting.exception() is not None:
        _judge(world, acting.exception())
    if not await world.idle(longest):
        history.violated(f"The application did not come to rest within {longest:g} virtual seconds: {_busy(world)}.")
        return
    await world.heal()
    if check is not None:
        try:
            await check(world)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what the check found)
            _judge(world, error)
    await examine(world)
    abandoned = await world.app.stop()
    if abandoned:
        history.violated(f"{abandoned} messages were abandoned when everything was idle.")
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("microlith ")]
    if left:
        history.violated(f"Tasks are left after the stop: {', '.join(sorted(left))}.")


def _judge(world: World, error: BaseException | None) -> None:
    """Take the end of a scenario for what it is: a client may well stop when its server dies."""
    history = world.history
    if error is None or world.is_to_blame(error):
        history.note(f"the scenario ended with {type(error).__name__}")
        return
    history.error = error
    history.violated(f"{type(error).__name__}: {error}")


def _busy(world: World) -> str:
    delivery = world.app.delivery
    lanes = delivery.routes.lanes() if delivery is not None else ()
    busy = [f"{lane.name} ({len(lane.queue)} in its queue)" for lane in lanes if lane.queue or lane.busy]
    return ", ".join(busy) or "something is not committed"


def _tear_down(loop: VirtualLoop) -> None:
    """End what is left, whatever state it is in."""
    left = sorted(asyncio.all_tasks(loop), key=hash)
    for task in left:
        task.cancel()
    if left:
        with suppress(NothingLeftError):  # somebody may swallow it, and wait for what never comes
            loop.run_until_complete(asyncio.wait(left, timeout=10.0))
    loop.run_until_complete(loop.shutdown_asyncgens())
