"""A real server of one's own: started in a temporary folder, on loopback, stopped by its pids.

What every kind has in common. A kind says how it is launched and how one sees that it answers.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self
from uuid import uuid4

from tests.servers import processes
from tests.servers.guard import start_guard
from tests.servers.processes import is_alive, with_descendants

PATIENCE = 90.0
"""Seconds for a start that takes less than ten on an idle machine."""


class ServerMissingError(Exception):
    """The programs of a server are not installed; the text says what to install."""


class ServerFailedError(Exception):
    """A server did not start, or did not end; the text has the end of its log."""


class Server(ABC):
    """One server with its data.

    `with RabbitMQ() as server:` starts it, and leaves nothing of it behind. In between it can be stopped, killed and
    started again, on the same ports and with the same data. Should this process die, the server is killed.

    Raises:
        ServerMissingError: It is not installed.
    """

    kind: ClassVar[str]
    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir()) / f"microlith-{self.kind}-{uuid4().hex[:12]}"  # there once it starts
        self.log = self.folder / "log"
        self._started: list[subprocess.Popen[bytes]] = []
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, as `[tool.microlith]` takes it."""

    @abstractmethod
    def _launch(self) -> None:
        """Start its processes with `_run`, the server itself last."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves by now; may raise OSError when it does not."""

    @property
    def pid(self) -> int:
        """The process of the server itself."""
        return self._started[-1].pid

    @property
    def pids(self) -> set[int]:
        """All its processes that are alive."""
        own = [process.pid for process in self._started if process.poll() is None]
        return {pid for pid in with_descendants(own) if is_alive(pid)}

    @property
    def is_running(self) -> bool:
        """Whether the server's own process is alive."""
        return bool(self._started) and self._started[-1].poll() is None

    def start(self) -> None:
        """Start it, and return once it answers; nothing to do when it runs.

        Raises:
            ServerFailedError: It ended, or does not answer; it is killed then.
        """
        if self.is_running:
            return
        self.kill()  # what is left of an earlier start
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._guard = start_guard(self.folder)
        try:
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in an orderly way; its data stays.

        Raises:
            ServerFailedError: It did not end; it is killed then.
        """
        if self.is_running:
            self._started[-1].send_signal(self._stop_signal)
            try:
                self._started[-1].wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise self._failed(f"it did not end within {PATIENCE:g} s") from None
        self.kill()

    def kill(self) -> None:
        """End all its processes at once, with SIGKILL; what it had written stays."""
        processes.kill([process.pid for process in self._started if process.poll() is None])
        for process in self._started:
            process.wait()
        self._started.clear()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def restart(self) -> None:
        """Stop it, unless it was killed, and start it again."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def log_end(self, lines: int = 40) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return "(nothing)"
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing of it."""
        self.discard()

    def _run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one of its processes, out of reach of an interrupt at the terminal; what it prints goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{process.pid}\n".encode())
        self._guard.stdin.flush()
        return process

    def _run_to_the_end(self, command: Sequence[str], *, user: str | None = None) -> None:
        """Run what has to be done before the server can start.

        Raises:
            ServerFailedError: It failed, or took too long.
        """
        process = self._run(command, user=user)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._failed(f"{command[0]} did not end within {PATIENCE:g} s") from None
        if process.returncode != 0:
            raise self._failed(f"{command[0]} ended with {process.returncode}")
        self._started.remove(process)

    def _wait_until_ready(self) -> None:
        server = self._started[-1]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise self._failed("it ended while it started")
            with suppress(OSError):
                if self._answers():
                    return
            time.sleep(0.02)
        raise self._failed(f"it did not answer within {PATIENCE:g} s")

    def _failed(self, what: str) -> ServerFailedError:
        return ServerFailedError(f"{self.kind}: {what}. The end of its log:\n{self.log_end()}")
