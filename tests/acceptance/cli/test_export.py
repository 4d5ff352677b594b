"""`microlith export`: the files are what their tools read, match the configuration, and hold no secret."""

import shutil
import subprocess

import pytest
import yaml

CARRIED = """
[tool.microlith.buses]
command = "rabbitmq://guest:hunter2@127.0.0.1/"
event = "kafka://127.0.0.1:9092"
[tool.microlith.store]
url = "postgresql://shop:hunter2@127.0.0.1/shop?durability=fast"
"""
PASSWORDS = ("hunter2",)


@pytest.fixture
def carried(tool):
    """The shop with a second component, on brokers and a database."""
    path = tool.folder / "pyproject.toml"
    path.write_text(path.read_text("utf-8").replace("[tool.microlith.store]", "[tool.other]") + CARRIED, "utf-8")
    return tool


@pytest.fixture
def shared(carried):
    """The same, with a store that processes of a component share."""
    path = carried.folder / "pyproject.toml"
    path.write_text(path.read_text("utf-8").replace("durability=fast", "durability=fast&shared=yes"), "utf-8")
    return carried


@pytest.mark.parametrize("target", ["compose", "systemd", "kubernetes"])
def test_no_password_gets_into_a_file(carried, target):
    ended = carried("export", target)

    assert ended.code == 0
    assert not [word for word in PASSWORDS if word in ended.out]


def test_compose_has_a_service_for_each_component_and_each_server(carried):
    composed = yaml.safe_load(carried("export", "compose").out)

    services = composed["services"]
    assert set(services) == {"auth", "rabbitmq", "kafka", "postgres"}
    assert services["auth"]["environment"]["MICROLITH_COMPONENT"] == "auth"
    assert services["auth"]["environment"]["MICROLITH_COMMAND_BUS"].endswith("@rabbitmq:5672/")
    assert services["auth"]["environment"]["MICROLITH_EVENT_BUS"] == "kafka://kafka:9092"
    assert services["auth"]["environment"]["MICROLITH_STORE_URL"].endswith("@postgres:5432/shop?durability=fast")
    assert all("healthcheck" in service for service in services.values())
    assert set(services["auth"]["depends_on"]) == {"rabbitmq", "kafka", "postgres"}
    assert set(composed["volumes"]) == {"auth", "rabbitmq", "kafka", "postgres"}


def test_without_brokers_one_process_runs_everything(tool):
    composed = yaml.safe_load(tool("export", "compose").out)

    assert set(composed["services"]) == {"shop"}
    assert "MICROLITH_COMPONENT" not in composed["services"]["shop"]["environment"]
    assert "depends_on" not in composed["services"]["shop"]


def test_kubernetes_takes_secrets_from_a_secret(carried):
    (stateful,) = [one for one in yaml.safe_load_all(carried("export", "kubernetes").out) if one]

    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one for one in container["env"]}
    assert given["RABBITMQ_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "shop", "key": "RABBITMQ_PASSWORD"}
    assert "$(RABBITMQ_PASSWORD)@127.0.0.1" in given["MICROLITH_COMMAND_BUS"]["value"]
    assert list(given).index("RABBITMQ_PASSWORD") < list(given).index("MICROLITH_COMMAND_BUS")
    assert given["MICROLITH_COMPONENT"]["value"] == "auth"


def test_component_that_owns_its_store_runs_once_and_keeps_its_folder(carried):
    (stateful,) = [one for one in yaml.safe_load_all(carried("export", "kubernetes").out) if one]
    service = yaml.safe_load(carried("export", "compose").out)["services"]["auth"]

    assert (stateful["kind"], stateful["spec"]["replicas"]) == ("StatefulSet", 1)
    assert "strategy" not in stateful["spec"]
    assert stateful["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "state"
    assert ("deploy" in service, service["volumes"]) == (False, ["auth:/app/.microlith"])


def test_processes_that_share_a_store_are_several_in_kubernetes_and_replaced_one_by_one(shared):
    (deployment,) = [one for one in yaml.safe_load_all(shared("export", "kubernetes").out) if one]

    spec, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
    assert (deployment["kind"], spec["replicas"]) == ("Deployment", 2)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert not {"serviceName", "volumeClaimTemplates"} & set(spec)
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert [volume["name"] for volume in pod["volumes"]] == [pod["containers"][0]["volumeMounts"][0]["name"]]
    assert "emptyDir" in pod["volumes"][0]
    (url,) = [one["value"] for one in pod["containers"][0]["env"] if one["name"] == "MICROLITH_STORE_URL"]
    assert url.endswith("shared=yes")


def test_processes_that_share_a_store_are_several_in_compose_and_have_nothing_that_only_one_may_have(shared):
    composed = yaml.safe_load(shared("export", "compose").out)

    service = composed["services"]["auth"]
    assert service["deploy"] == {"replicas": 2}
    assert not {"container_name", "hostname", "ports", "volumes"} & set(service)
    assert set(composed["volumes"]) == {"rabbitmq", "kafka", "postgres"}
    assert "deploy" not in composed["services"]["rabbitmq"]


def test_systemd_units_are_written_once_and_replaced_when_forced(carried):
    first = carried("export", "systemd", "--to", "deploy")
    again = carried("export", "systemd", "--to", "deploy")
    forced = carried("export", "systemd", "--to", "deploy", "--force")

    folder = carried.folder / "deploy"
    assert (first.code, again.code, forced.code) == (0, 2, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["shop-auth.service", "shop.env.example", "shop.target"]
    assert "Wants=shop-auth.service" in (folder / "shop.target").read_text("utf-8")
    assert "are there already" in again.err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_units(carried):
    carried("export", "systemd", "--to", "deploy")
    unit = carried.folder / "deploy" / "shop-auth.service"
    unit.write_text(unit.read_text("utf-8").replace("/opt/shop/.venv/bin/microlith", "/bin/true"), "utf-8")

    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )

    assert "shop-auth.service:" not in ended.stderr


def test_strange_target_is_refused_with_the_nearest(tool):
    ended = tool("export", "kubernets")

    assert ended.code == 2
    assert "kubernetes" in ended.err
