"""Peers, as a developer runs them: from the start to the first answer, and from a save to the answer of the new code.

The same small application for microlith, uvicorn, FastStream, Litestar and Nest; each in a process of its own, in turn,
by the clock on the wall. With a client attached, too, which stays while code is saved: a stream over HTTP for uvicorn,
which waits for it to end, and one that follows for microlith.

What peers need is installed into a folder of this user's cache, outside the checkout. Without the npm command there is no
Nest, and without RabbitMQ no FastStream; both are said.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from benchmarks import peer_apps
from benchmarks.peer_apps import Peer, Served, served
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.server import ServerMissingError

PYTHON_PEERS = ("uvicorn[standard]==0.54.0", "faststream[rabbit,cli]==0.7.8", "litestar[standard]==2.25.0")
NODE_PEERS = ("@nestjs/core", "@nestjs/common", "@nestjs/platform-express", "reflect-metadata", "rxjs")
HANGS_SECONDS = 10.0
"""Who has not served new code for so long while a client is attached counts as hanging."""
REST_SECONDS = 2.0
"""Between two saves of somebody who types in between."""
SAVE_SECONDS = 0.5
"""What a save may take to be served, beside the imports of the application, which here are next to nothing."""
QUEUE = "peers-version"

Times = dict[str, list[float | None]]


def cache() -> Path:
    """The folder for what peers need."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microlith" / "peers"


def python_tools() -> Path:
    """Install the peers in Python where they are not; the folder of their commands."""
    folder = cache() / f"python{sys.version_info[0]}{sys.version_info[1]}"
    done = folder / "installed"
    if not done.exists() or done.read_text() != repr(PYTHON_PEERS):
        print(f"  installing {', '.join(PYTHON_PEERS)} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *PYTHON_PEERS], check=True)
        done.write_text(repr(PYTHON_PEERS))
    return folder / "bin"


def node_modules() -> Path | None:
    """Install Nest where it is not; None, and a line that says why, when it cannot be."""
    folder = cache() / "node"
    if not (folder / "node_modules" / "@nestjs" / "core").exists():
        if shutil.which("npm") is None or shutil.which("node") is None:
            print("  without nest: there is no npm")
            return None
        print(f"  installing {', '.join(NODE_PEERS)} into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", "--silent", *NODE_PEERS]
        ended = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if ended.returncode:
            print(f"  without nest: npm could not install it: {ended.stderr.strip()[-200:]}")
            return None
    return folder / "node_modules"


@contextmanager
def peers() -> Iterator[list[Peer]]:
    """Give every peer that can be run here; a broker runs meanwhile."""
    checkout = Path(__file__).parent.parent
    tools, modules = python_tools(), node_modules()
    found = [peer_apps.microlith(checkout=checkout), peer_apps.uvicorn(tools), peer_apps.litestar(tools)]
    if modules is not None:
        found.append(peer_apps.nest(modules))
    with ExitStack() as stack:
        try:
            url = stack.enter_context(RabbitMQ()).url.replace("rabbitmq:", "amqp:", 1)
        except ServerMissingError as error:
            print(f"  without faststream: {error}")
        else:
            found.insert(2, peer_apps.faststream(tools, url, QUEUE))
        yield found


def timed(peer: Peer, times: Times, measure: Callable[[Served], float | None]) -> None:
    """Run a peer, wait until it serves, and note what is measured then."""
    with TemporaryDirectory() as folder, served(peer, Path(folder)) as running:
        if running.serves(1) is None:
            raise RuntimeError(f"{peer.name} does not serve: {(Path(folder) / 'stderr').read_text()[-2000:]}")
        times.setdefault(peer.name, []).append(measure(running))


def started(peer: Peer) -> float:
    """Seconds from the start to the first answer."""
    with TemporaryDirectory() as folder, served(peer, Path(folder)) as running:
        seconds = running.serves(1)
        if seconds is None:
            raise RuntimeError(f"{peer.name} does not serve")
        return seconds


def saved(running: Served) -> float | None:
    """Seconds from a save to the answer of the new code, a while after whatever was before; the median of three saves."""
    return _saved(running, (2, 3, 4), REST_SECONDS)


def saved_at_once(running: Served) -> float | None:
    """The same for saves each of which comes as soon as the one before is served."""
    return _saved(running, (2, 3, 4, 5), 0.0)


def _saved(running: Served, versions: Sequence[int], rest: float) -> float | None:
    seconds = []
    for version in versions:
        sleep(rest)
        running.save(version)
        took = running.serves(version)
        if took is None:
            return None
        seconds.append(took)
    return median(seconds)


def saved_with_client(running: Served) -> float | None:
    """The same for one save, while a client is attached; None when it hangs."""
    with running.client():
        sleep(REST_SECONDS)
        running.save(2)
        return running.serves(2, HANGS_SECONDS)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether microlith keeps its budget."""
    rounds = min(rounds, 3) if quick else rounds
    starts: Times = {}
    saves: Times = {}
    at_once: Times = {}
    attached: Times = {}
    with peers() as found:
        for number in range(rounds):
            turn = number % len(found)  # nobody always runs behind the same neighbour
            for peer in (*found[turn:], *found[:turn]):
                starts.setdefault(peer.name, []).append(started(peer))
                if peer.reloads:
                    timed(peer, saves, saved)
                    timed(peer, at_once, saved_at_once)
                if peer.follow is not None:
                    timed(peer, attached, saved_with_client)
    _show("From the start to the first answer", starts)
    _show("From a save to the answer of the new code", saves)
    _show("The same with a client attached", attached)
    _show("From a save that follows the last one at once", at_once)
    ours = [*saves["microlith run"], *attached["microlith run"]]
    kept = all(took is not None for took in ours) and median(took or 0.0 for took in ours) <= SAVE_SECONDS
    print(
        f"  {'kept' if kept else 'MISSED'}: microlith serves a save within {SAVE_SECONDS:g} s, also with a client attached"
    )
    return kept


def _show(title: str, times: Times) -> None:
    print(f"\n{title}, seconds, median (range)")
    for name, all_times in times.items():
        good = [took for took in all_times if took is not None]
        shown = f"{median(good):.2f} ({min(good):.2f}-{max(good):.2f})" if good else "-"
        hung = len(all_times) - len(good)
        print(
            f"  {name:20} {shown:>18}{f'  {hung} of {len(all_times)}: not within {HANGS_SECONDS:g} s' if hung else ''}"
        )
