"""The runtime in 1,000 simulations: every order, delay, duplicate, refusal and crash that their seeds lead to.

`MICROLITH_SEEDS=100000 python -m pytest tests/simulation/test_runtime.py --timeout 0` runs more; see docs/testing.md.
"""

import os
from collections.abc import Iterable

import pytest

from microlith.testing.simulation import Faults, simulate
from tests.simulation.market import books_balance, make_market, trade

SEEDS = 1_000
PARTS = 4


def part(number: int) -> Iterable[int]:
    """List the seeds of one part of the test."""
    if "MICROLITH_SEED" in os.environ:
        return [int(os.environ["MICROLITH_SEED"])] if number == 0 else []
    return range(number, int(os.environ.get("MICROLITH_SEEDS", SEEDS)), PARTS)


@pytest.mark.parametrize("number", range(PARTS))
def test_a_thousand_seeds_with_every_fault_break_no_promise(number: int):
    app = make_market()
    for seed in part(number):
        simulate(app, trade, seed=seed, faults=Faults.all(), check=books_balance)


def test_a_hundred_seeds_without_faults_break_no_promise():
    app = make_market()
    for seed in range(100):
        simulate(app, trade, seed=seed, check=books_balance)
