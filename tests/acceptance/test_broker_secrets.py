"""The password of a broker comes from the environment, goes to the broker by TLS, and to nobody else."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.apart import make_shop, tool, until_it_serves

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow, pytest.mark.timeout(180)]

SECRET = "s3cr3t@/x:%41"


@pytest.fixture
def shop(tmp_path, rabbitmq, rabbitmq_url, monkeypatch):
    """The shop on a broker behind TLS, as a user whose password only the environment has."""
    vhost = rabbitmq_url.rpartition("/")[2]
    rabbitmq.create_user("ada", SECRET, vhost)
    monkeypatch.setenv("BROKER_PASSWORD", SECRET)
    url = f"{rabbitmq.secure_url('ada:${BROKER_PASSWORD}', vhost)}?cafile={rabbitmq.authority.certificate}"
    yield make_shop(tmp_path, url)
    rabbitmq.manage("DELETE", "users/ada")


def command_lines(session: int) -> bytes:
    """What everybody on the machine sees of the processes of a session."""
    shown = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                shown += (process / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
    return shown


@contextmanager
def running(shop, log):
    """A process of the shop in a session of its own, which tells as much as it can."""
    command = [sys.executable, "-m", "microlith_cli", "-v", "run", "--no-reload", "--component", "auth"]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=shop, stdout=out, stderr=out, start_new_session=True) as run,
    ):
        try:
            yield run
        finally:
            run.terminate()
            run.wait(30)


async def test_password_from_the_environment_is_told_to_the_broker_and_to_nobody_else(shop, tmp_path):
    log = tmp_path / "run.log"
    register = (
        "dispatch",
        "RegisterCommand",
        "--email",
        "a@b.c",
        "--password",
        "right",
        "--wait",
        "UserRegisteredEvent",
    )
    with running(shop, log) as run:
        await until_it_serves(shop, "auth")
        sent = tool(*register, "--timeout", "30s", "--json", cwd=shop)
        seen = command_lines(run.pid)
        told = [
            tool(*of, cwd=shop) for of in (("trace", "--json"), ("config", "--json"), ("broker", "setup", "--dry-run"))
        ]
        wrong = tool("broker", "setup", "--dry-run", cwd=shop, BROKER_PASSWORD=f"not {SECRET}")

    assert (sent.returncode, *(one.returncode for one in told)) == (0, 0, 0, 0), (sent, told)
    assert json.loads(sent.stdout.splitlines()[-1])["type"] == "UserRegisteredEvent"
    assert wrong.returncode == 4
    assert "refused" in wrong.stderr
    assert "the password" in wrong.stderr
    assert b"microlith_cli" in seen
    spoken = "".join(one.stdout + one.stderr for one in (sent, wrong, *told)).encode()
    kept = b"".join(file.read_bytes() for file in (shop / ".microlith").rglob("*") if file.is_file())
    everything = {"command lines": seen, "output": spoken, "log": log.read_bytes(), "files": kept}
    secrets = [text.encode() for text in (SECRET, quote(SECRET, safe=""), "s3cr3t")]
    assert [where for where, text in everything.items() if any(secret in text for secret in secrets)] == []
