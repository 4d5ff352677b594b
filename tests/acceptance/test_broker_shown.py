"""Whoever looks sees what carries the buses, and when a broker is away and back: at the start, live, and from another terminal."""

import re
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import pytest

from tests.acceptance.apart import make_shop, status, until_it_serves
from tests.eventually import eventually
from tests.servers.faults import Fault
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(180)]


@contextmanager
def telling(shop, log, *arguments):
    """Run the tool, and have what it tells in a file."""
    command = [sys.executable, "-m", "microlith_cli", *arguments]
    with log.open("wb") as out, subprocess.Popen(command, cwd=shop, stdout=out, stderr=out) as run:
        try:
            yield
        finally:
            run.terminate()
            run.wait(30)


def tells(log, text):
    """Whether a line of a tracer is about this; the log of the application has it, too."""
    return re.search(rf"broker +{re.escape(text)}", log.read_text("utf-8")) is not None


async def test_state_of_the_broker_is_shown_where_people_look(tmp_path, rabbitmq, rabbitmq_url):
    ran, followed = tmp_path / "run.log", tmp_path / "follow.log"
    with Proxy(rabbitmq.port) as proxy:
        url = proxy.through(rabbitmq_url)
        shop = make_shop(tmp_path, url)
        shown = url.replace("guest:guest@", "")
        with telling(shop, ran, "run", "--no-reload", "--component", "auth"):
            await until_it_serves(shop, "auth")
            with telling(shop, followed, "trace", "--follow"):
                await eventually(lambda: status(shop, "auth")["followers"] == 1, 30)
                proxy.refuse()
                proxy.strike(Fault.RESET)
                for log in (ran, followed):
                    await eventually(partial(tells, log, f"{shown} is away: "), 30)
                proxy.accept()
                for log in (ran, followed):
                    await eventually(partial(tells, log, f"{shown} is back"), 60)
            carried = status(shop, "auth")["buses"]

    assert ran.read_text("utf-8").count(" is away") == 1, "it is told by the tracer, and not by a line of a log as well"
    assert f" buses command, query, event over {shown} " in " ".join(ran.read_text("utf-8").split())
    assert carried == {"command": shown, "query": shown, "event": shown}
