"""RabbitMQ, as Debian packages it: a private node that knows no other."""

import base64
import json
import os
import shutil
import socket
import subprocess
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from tests.servers.certificates import Authority
from tests.servers.ports import LOOPBACK, free_ports
from tests.servers.server import Server, ServerMissingError

# The launcher inside the package. The one on the search path changes to a user of its own and uses the system's folders.
LAUNCHER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
NODE = "microlith@localhost"
ERLANG = Path("/usr/lib/erlang")
PLUGINS = ("rabbitmq_consistent_hash_exchange", "rabbitmq_management")

_GREETING = b"AMQP\x00\x00\x09\x01"
_CONNECTION_START = b"\x01\x00\x00"  # a method frame on channel 0: the server took the greeting


class RabbitMQ(Server):
    """A node with the management API, for the user guest."""

    kind: ClassVar[str] = "rabbitmq"

    def __init__(self) -> None:
        epmd, erl_calls = shutil.which("epmd"), sorted(ERLANG.glob("erts-*/bin/erl_call"))
        if epmd is None or not erl_calls or not LAUNCHER.exists():
            raise ServerMissingError("RabbitMQ is not installed: apt-get install rabbitmq-server")
        super().__init__()
        self._epmd, self._erl_call = epmd, str(erl_calls[-1])
        self.port, self.secure_port, self.management_port, self._cluster_port, self._epmd_port = free_ports(5)

    @property
    def url(self) -> str:
        """The default virtual host, as `[tool.microlith.buses]` takes it."""
        return self.vhost_url("/")

    @property
    def management_url(self) -> str:
        """The management API, and a page for people; user and password are guest."""
        return f"http://{LOOPBACK}:{self.management_port}/"

    def vhost_url(self, vhost: str) -> str:
        """The url of a virtual host; with `amqp` instead of `rabbitmq` for other clients."""
        return f"rabbitmq://guest:guest@{LOOPBACK}:{self.port}/{'' if vhost == '/' else quote(vhost, safe='')}"

    def secure_url(self, login: str, vhost: str = "/") -> str:
        """A virtual host by TLS, for `user:password`; `authority` has signed the broker's certificate."""
        return f"rabbitmqs://{login}@{LOOPBACK}:{self.secure_port}/{'' if vhost == '/' else quote(vhost, safe='')}"

    @cached_property
    def authority(self) -> Authority:
        """Who has signed the certificate of the secure port."""
        return Authority(self.folder / "tls")

    def create_user(self, name: str, password: str, vhost: str) -> None:
        """Make a user who may do everything in a virtual host."""
        self.manage("PUT", f"users/{name}", {"password": password, "tags": ""})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.manage("PUT", f"permissions/{quote(vhost, safe='')}/{name}", everything)

    def create_vhost(self, vhost: str) -> str:
        """Make a virtual host in which guest may do everything; returns its url."""
        name = quote(vhost, safe="")
        self.manage("PUT", f"vhosts/{name}")
        self.manage("PUT", f"permissions/{name}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        return self.vhost_url(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with its queues; connections to it are closed."""
        self.manage("DELETE", f"vhosts/{quote(vhost, safe='')}")

    def write_declarations(self) -> None:
        """Have the node write to disk what was declared by now; what it has not written, a SIGKILL takes.

        RabbitMQ 3.10 answers a declaration and confirms messages before that. The decision that ends the transaction of
        a durable queue is written up to two seconds later: without it the next start has no such queue. Where a quorum
        queue lies is written up to half a second later: without it the next start has an empty one, and no leader in it.

        Source: mnesia's log has `presume_abort` until the decision follows, https://www.erlang.org/doc/man/mnesia; the
        table with `auto_save` in https://github.com/rabbitmq/ra/blob/v2.2.0/src/ra_directory.erl
        """
        self.evaluate("mnesia:sync_log(), dets:sync(ra_directory_reverse)", "{ok, ok}")

    def evaluate(self, erlang: str, expected: str = "{ok, ok}") -> None:
        """Have the node evaluate Erlang; `rabbitmqctl` does it too, and takes seconds to begin.

        Args:
            erlang: Expressions, without the dot at the end.
            expected: What is to be told of the last one's value.

        Raises:
            OSError: The node does not answer, or tells something else; the text has the answer.
        """
        asked = subprocess.run(
            [self._erl_call, "-address", f"{LOOPBACK}:{self._cluster_port}", "-e"],
            input=f"{erlang}.\n",
            env={"HOME": str(self.folder / "home")},  # where the node's cookie lies
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if asked.stdout != expected:
            raise OSError(f"The node did not evaluate {erlang!r}: {asked.stdout}{asked.stderr}")

    def manage(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API, such as `manage("GET", "queues")`.

        Raises:
            OSError: It does not answer, or refuses; the text has the answer.
        """
        connection = HTTPConnection(LOOPBACK, self.management_port, timeout=60)
        try:
            headers = {
                "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                "Content-Type": "application/json",
            }
            connection.request(method, f"/api/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None

    def _launch(self) -> None:
        for name in ("home", "data", "logs", "generated"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "plugins").write_text(f"[{','.join(PLUGINS)}].\n", "ascii")
        (self.folder / "rabbitmq.conf").write_text(
            f"management.tcp.ip = {LOOPBACK}\nmanagement.tcp.port = {self.management_port}\nlog.console = true\n"
            f"listeners.ssl.default = {LOOPBACK}:{self.secure_port}\n"
            f"ssl_options.certfile = {self.authority.signed}\nssl_options.keyfile = {self.authority.signed}\n",
            "ascii",
        )
        environment = self._environment()
        # It would be started by the node, in the background and as nobody's child.
        self._run([self._epmd, "-address", LOOPBACK, "-port", str(self._epmd_port)], environment=environment)
        self._run([str(LAUNCHER), "-noinput"], environment=environment)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_")) and name != "NOTIFY_SOCKET"
        }
        return {
            **inherited,
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_ALLOW_INPUT": "1",  # the launcher becomes the node, instead of waiting for it
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(self._cluster_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            connection.sendall(_GREETING)
            if connection.recv(len(_CONNECTION_START)) != _CONNECTION_START:
                return False
        self.manage("GET", "overview")
        return True
