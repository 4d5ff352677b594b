"""Start-up of the tool: whole processes, from the fork to the end, processor time of each.

`dispatch` talks to a scaffolded application that `microlith run` serves meanwhile.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.rounds import Budget, Contestant, measure, report

CLICK_HELLO = """
import click
@click.command()
@click.option("--count", default=1, help="How often.")
@click.option("--name", help="Whom to greet.")
def hello(count, name):
    '''Greet somebody.'''
hello()
"""
PATIENCE = 30.0
"""Seconds that `microlith run` may take until it serves."""


def microlith(*arguments: str) -> list[str]:
    """Return the command line of the installed tool, or of the checkout where it is not installed."""
    script = Path(sys.executable).with_name("microlith")
    return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "microlith_cli", *arguments]


def processor_time(command: Sequence[str], folder: Path | None = None) -> float:
    """Run a command and return the processor time of its process, in seconds."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        complaint = process.stderr.read() if process.stderr is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {complaint.decode()[-500:]}")
    return usage.ru_utime + usage.ru_stime


@contextmanager
def served_application() -> Iterator[Path]:
    """Scaffold an application in an empty folder and serve it; yield its folder."""
    with TemporaryDirectory() as folder:
        subprocess.run(microlith("-C", folder, "new", "app", "shop"), check=True, capture_output=True)
        shop = Path(folder, "shop")
        with subprocess.Popen(
            microlith("run"), cwd=shop, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            try:
                deadline = time.monotonic() + PATIENCE
                while not (shop / ".microlith" / "control.sock").exists():
                    if run.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("`microlith run` did not begin to serve.")
                    time.sleep(0.05)
                yield shop
            finally:
                run.terminate()


def contestants(shop: Path) -> list[Contestant]:
    """Everyone who can run here."""

    def run(*command: str, folder: Path | None = None) -> Callable[[], float]:
        return lambda: processor_time(command, folder)

    dispatch = microlith(
        "dispatch", "RegisterCommand", "--email", "ada@example.org", "--password", "pw", "--role", "user"
    )
    field = [
        Contestant("python -c pass", run(sys.executable, "-c", "pass")),
        Contestant("microlith --help", run(*microlith("--help"))),
        Contestant("microlith --version", run(*microlith("--version"))),
        Contestant("microlith dispatch", run(*dispatch, folder=shop), "to a running application"),
    ]
    if find_spec("click") is not None:
        field.append(Contestant("click hello --help", run(sys.executable, "-c", CLICK_HELLO, "--help")))
    else:
        print("  without click; to see it: pip install click")
    return field


BUDGETS: Sequence[Budget] = (
    Budget("microlith --help", "click hello --help", 1 / 1.5),
    Budget("microlith --version", "click hello --help", 1 / 1.5),
)
DISPATCH_BUDGET = 0.150
"""Seconds of processor time for a dispatch to a running application."""


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    with served_application() as shop:
        field = contestants(shop)
        results = measure(field, rounds if quick else rounds * 3)
    kept = report("Start-up of the tool, processor time", field, results, "python -c pass", BUDGETS, unit="ms")
    dispatch = results.seconds("microlith dispatch").middle
    print(
        f"  {'kept' if dispatch <= DISPATCH_BUDGET else 'MISSED'}: microlith dispatch <= {DISPATCH_BUDGET:g} s: {dispatch:.3f}"
    )
    return kept and dispatch <= DISPATCH_BUDGET
