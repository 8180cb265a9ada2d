"""Deployment files: what the stock protos and Kubernetes' own rules for these fields take, and that they agree."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import messages, server

yaml = pytest.importorskip("yaml")

DEPLOY = Path(server.__file__).parent / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
API = {
    "PersistentVolumeClaim": "v1", "Deployment": "apps/v1", "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2", "PodDisruptionBudget": "policy/v1",
}  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_the_stock_protos_take_the_settings() -> None:
    # The stock package holds the first of these only; the others are those that `radkit serve` reads them by.
    models = text_format.Parse((DEPLOY / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("model", "/models/model", "tensorflow")
    text = (DEPLOY / "batching_parameters.txt").read_text()
    batching = text_format.Parse(text, messages.BatchingParameters())
    assert batching.max_batch_size.value >= 1
    text = (DEPLOY / "monitoring.config").read_text()
    monitoring = text_format.Parse(text, messages.MonitoringConfig()).prometheus_config
    assert monitoring.enable
    assert monitoring.path == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_has_what_its_kind_must_have(path: Path) -> None:
    found = read(path)
    assert found["apiVersion"] == API[found["kind"]]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found["metadata"]["name"])
    assert "spec" in found


@pytest.mark.parametrize("name", ["deployment", "tensorflow_serving"])
def test_servers_run_with_no_more_rights_than_they_need(name: str) -> None:
    spec = read(DEPLOY / "kubernetes" / f"{name}.yaml")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert not pod["automountServiceAccountToken"]
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}  # the autoscaler counts shares of it
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    files = [arg.partition("=")[2] for arg in container["args"] if "_file=" in arg]
    assert files
    assert all(str(Path(file).parent) in mounts and (DEPLOY / Path(file).name).is_file() for file in files)


def test_a_grpc_probe_asks_for_a_number_not_for_a_name() -> None:
    (container,) = read(DEPLOY / "kubernetes" / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == 8500  # names are for httpGet and tcpSocket only


def test_what_points_at_the_servers_names_them() -> None:
    deployment = read(DEPLOY / "kubernetes" / "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    service = read(DEPLOY / "kubernetes" / "service.yaml")["spec"]
    assert service["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["ports"]} == {port["name"] for port in container["ports"]}
    target = read(DEPLOY / "kubernetes" / "autoscaler.yaml")["spec"]
    assert target["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert target["minReplicas"] <= deployment["spec"]["replicas"] <= target["maxReplicas"]
    budget = read(DEPLOY / "kubernetes" / "disruption_budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert budget["minAvailable"] < target["minReplicas"]  # else no node could ever be drained


def test_kustomize_and_compose_name_files_that_are_there() -> None:
    kustomization = read(DEPLOY / "kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]
    for name in [*kustomization["resources"], *generated["files"]]:
        assert (DEPLOY / name).is_file()
    compose = read(DEPLOY / "compose.yaml")
    for service in compose["services"].values():
        root = (DEPLOY / service["build"]["context"]).resolve()
        assert (root / service["build"]["dockerfile"]).is_file()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_radkit_serve_knows_the_flags_that_it_is_given() -> None:
    (container,) = read(DEPLOY / "kubernetes" / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    (command,) = re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for arg in [*container["args"], *json.loads(command)]:
        assert arg.removeprefix("--").partition("=")[0] in server.FLAGS
