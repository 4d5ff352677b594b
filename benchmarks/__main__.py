"""Runs the benchmarks: `python -m benchmarks [NAME ...] [--quick] [--rounds N] [--events N]`."""

import argparse
import logging
import platform
import sys
from importlib import import_module

NAMES = (
    "dispatch",
    "waits",
    "append",
    "replay",
    "projection",
    "tracing",
    "viewer",
    "cli_startup",
    "apart",
    "rabbitmq",
    "kafka",
)

ASKED_FOR = ("peers", "shared")
"""What is run only when it is named: the one installs what it compares with, the other starts three servers and takes minutes."""


def main() -> int:
    """Run what was asked for, in order; 1 if a budget is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure microlith beside its limits and peers."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(NAMES)}, all of those by default, or {', '.join(ASKED_FOR)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer items and rounds: a look, not a result")
    parser.add_argument("--rounds", type=int, help="rounds that count (default 7, quick 3)")
    parser.add_argument("--events", type=int, help="events in the log of `projection` (default 100,000, quick 10,000)")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in (*NAMES, *ASKED_FOR)]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join((*NAMES, *ASKED_FOR))}")
    logging.disable()  # a loop that is busy on purpose is warned about
    print(f"Python {platform.python_version()}, {platform.machine()}")
    rounds = asked.rounds or (3 if asked.quick else 7)
    kept = []
    for name in asked.names or NAMES:
        more = {"events": asked.events} if name == "projection" else {}
        kept.append(import_module(f"benchmarks.bench_{name}").main(quick=asked.quick, rounds=rounds, **more))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
