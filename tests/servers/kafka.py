"""Kafka in KRaft mode: one node that is broker and controller, from the jars of its release."""

import os
import shutil
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote
from xml.etree import ElementTree as ET

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.certificates import Authority
from tests.servers.ports import LOOPBACK, free_ports
from tests.servers.server import Server, ServerMissingError

POM = Path(__file__).with_name("pom.xml")
QUICK = ("-XX:TieredStopAtLevel=1",)
"""What lets a virtual machine start sooner, and be slower once it is warm."""

_CLUSTER = "bWljcm9saXRoLXRlc3RzAA"  # 16 bytes in base64: every cluster has an id
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL",
    "auto.create.topics.enable": "false",  # a topic that nobody set up is a mistake
    # One node keeps what three would share.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Of what is made for thousands of clients, enough for a few.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "2097152",
    # A test waits for neither a member that has died nor a broker that was killed as long as others do.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "2000",
}


USERS = {"PLAIN": ("ada", "plain/secret"), "SCRAM-SHA-512": ("bob", "scram@secret")}
"""Who may log in at the secure port, and how; the passwords need quoting in a url."""
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required user_{}={};"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Kafka(Server):
    """A broker with the group protocols of this and the last generation; topics are not made by themselves.

    Args:
        jvm: Options of the virtual machine; none for a measurement that lasts longer than a start.
    """

    kind: ClassVar[str] = "kafka"

    def __init__(self, *, jvm: Sequence[str] = QUICK) -> None:
        self._java, jars = _java(), _jars()
        super().__init__()
        self._jvm = ["-Xmx384m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true", *jvm, "-cp", f"{jars}/*"]
        self.port, self.proxied_port, self.proxy_port, self.secure_port, self._controller_port = free_ports(5)

    @property
    def url(self) -> str:
        """The broker, as `[tool.microlith.buses]` takes it."""
        return f"kafka://{self.bootstrap}"

    @property
    def bootstrap(self) -> str:
        """The broker, as Kafka's clients take it: `bootstrap.servers`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def proxied_url(self) -> str:
        """The broker by way of `Proxy(kafka.proxied_port, port=kafka.proxy_port)`.

        A broker tells its clients where it is, and they go there: it takes clients of the proxy at a port of their own, and
        tells them the port of the proxy.
        """
        return f"kafka://{LOOPBACK}:{self.proxy_port}"

    def secure_url(self, mechanism: str, password: str | None = None) -> str:
        """The broker at the port that speaks TLS and wants a login; `authority` has signed its certificate."""
        user, right = USERS[mechanism]
        login = f"{user}:{quote(right if password is None else password, safe='')}"
        return f"kafkas://{login}@{LOOPBACK}:{self.secure_port}?mechanism={mechanism}"

    @cached_property
    def authority(self) -> Authority:
        """Who has signed the certificate of the secure port."""
        return Authority(self.folder / "tls")

    def create_topics(self, *names: str, partitions: int = 1) -> None:
        """Make topics, and return once they can be written to."""
        admin = self._admin()
        _wait_for_all(admin.create_topics([NewTopic(name, partitions) for name in names]))

    def topics(self, prefix: str = "") -> list[str]:
        """The topics whose names begin like this."""
        return sorted(name for name in self._admin().list_topics(timeout=30).topics if name.startswith(prefix))

    def groups(self, prefix: str = "") -> list[str]:
        """The consumer groups whose names begin like this."""
        admin = self._admin()
        listed = admin.list_consumer_groups().result(30).valid
        return sorted(group.group_id for group in listed if group.group_id.startswith(prefix))

    def delete(self, prefix: str) -> None:
        """Delete the topics, and the groups that have no members, whose names begin like this."""
        admin = self._admin()
        if topics := self.topics(prefix):
            _wait_for_all(admin.delete_topics(topics))
        if groups := self.groups(prefix):
            for deleted in admin.delete_consumer_groups(groups).values():
                deleted.exception(30)  # one that has members yet ends by itself

    def _launch(self) -> None:
        data, properties = self.folder / "data", self.folder / "server.properties"
        direct, controller = f"PLAINTEXT://{LOOPBACK}:{self.port}", f"CONTROLLER://{LOOPBACK}:{self._controller_port}"
        direct += f",SECURE://{LOOPBACK}:{self.secure_port}"
        settings = {
            **_SETTINGS,
            "listeners": f"{direct},PROXIED://{LOOPBACK}:{self.proxied_port},{controller}",
            "advertised.listeners": f"{direct},PROXIED://{LOOPBACK}:{self.proxy_port},{controller}",
            "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{self._controller_port}",
            "log.dirs": str(data),
            **self._security(),
        }
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
        java = [self._java, *self._jvm]
        if not data.exists():
            how = ["format", "--standalone", "--cluster-id", _CLUSTER, "--config", str(properties)]
            user, password = USERS["SCRAM-SHA-512"]
            known = ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
            self._run_to_the_end([*java, "kafka.tools.StorageTool", *how, *known])
        self._run([*java, "-Dlog4j2.level=WARN", "kafka.Kafka", str(properties)])

    def _security(self) -> dict[str, str]:
        """What the secure port is set to."""
        port = "listener.name.secure."
        user, password = USERS["PLAIN"]
        return {
            f"{port}ssl.keystore.type": "PEM",
            f"{port}ssl.keystore.location": str(self.authority.signed),
            f"{port}sasl.enabled.mechanisms": ",".join(USERS),
            f"{port}plain.sasl.jaas.config": _PLAIN.format(user, f'"{password}"'),
            f"{port}scram-sha-512.sasl.jaas.config": _SCRAM,
        }

    def _answers(self) -> bool:
        socket.create_connection((LOOPBACK, self.port), timeout=5).close()  # quieter than the client when refused
        try:
            return bool(self._admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def _admin(self) -> AdminClient:
        # A new one each time: an old one waits before it tries again to reach a broker that was restarted.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})


def _wait_for_all(done: dict[str, Future[None]]) -> None:
    for future in done.values():
        future.result(30)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        raise ServerMissingError("Java is not installed, which Kafka runs on: apt-get install default-jre-headless")
    return java


def _jars() -> Path:
    """The folder with the jars that `pom.xml` names."""
    version = ET.parse(POM).findtext(".//{*}kafka.version")
    cache = Path.home() / ".cache" / "microlith" / f"kafka-{version}"
    jars = Path(os.environ.get("MICROLITH_KAFKA_JARS", cache))
    if not (jars / f"kafka_2.13-{version}.jar").exists():
        raise ServerMissingError(
            f"Kafka {version} is not in {jars}: mvn -q -f tests/servers/pom.xml dependency:copy-dependencies"
        )
    return jars
