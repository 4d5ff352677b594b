"""Real servers in the foreground: `python -m tests.servers rabbitmq`; Ctrl-C stops them."""

import argparse
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.server import Server, ServerFailedError, ServerMissingError

KINDS: dict[str, Callable[[], Server]] = {"rabbitmq": RabbitMQ, "kafka": Kafka, "postgres": Postgres}
_AWAY = 4


def main() -> int:
    """Start what is named, print where it is, and wait for an interrupt."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers",
        description="Start real servers on free ports of 127.0.0.1, with data that is deleted at the end.",
    )
    parser.add_argument("kinds", nargs="+", choices=list(KINDS), metavar="KIND", help=f"one of {', '.join(KINDS)}")
    kinds = list(dict.fromkeys(parser.parse_args().kinds))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as running:
            servers = [KINDS[kind]() for kind in kinds]
            with ThreadPoolExecutor() as starting:
                for server in starting.map(running.enter_context, servers):
                    _say(f"{server.kind} {server.url} pid {server.pid} log {server.log}")
            _say(
                "Urls go into [tool.microlith.buses], that of postgres into store.url. Ctrl-C ends all and deletes the data."
            )
            signal.pause()
    except (ServerMissingError, ServerFailedError) as failed:
        sys.stderr.write(f"error {failed}\n")
        return _AWAY
    except KeyboardInterrupt:
        return 0
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
