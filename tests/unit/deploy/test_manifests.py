"""`mlrf deploy kubernetes`: Kustomize's output is valid, restricted and consistent."""

from __future__ import annotations

import copy
import shutil
import subprocess

import pytest
import yaml

from changed_documents import changed
from mlrf.cli import main
from mlrf.deploy.templates import ROOT
from mlrf.serving.config.loader import read_settings
from mlrf.serving.config.settings import OPTIONS
from mlrf.serving.routes import GRPC_CALLS
from mlrf.serving.telemetry.metrics import FAMILIES

OVERLAYS = ("production", "keda", "gateway", "tls")
VERSIONS = ("1.30", "1.34", "1.37")
CUSTOM = ("keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")
MISSING = {
    "Deployment": ("spec", "selector"),
    "Service": ("spec", "ports", 0, "port"),
    "HorizontalPodAutoscaler": ("spec", "maxReplicas"),
    "Ingress": ("spec", "rules", 0, "http", "paths", 0, "pathType"),
    **dict.fromkeys(
        ("NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "Secret", "ServiceAccount"),
        ("metadata", "name"),
    ),
}
"""A field of each kind without which the API server refuses it. Schemas require no field of the last five, and no name."""
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
pytestmark = needs_kubectl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("deploy") / "k8s"
    options = ["--name", "sales", "--image", "registry.example/sales:1", "--namespace", "ml"]
    assert main(["deploy", "kubernetes", "-o", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def rendered(folder):
    return {
        overlay: list(
            yaml.safe_load_all(
                subprocess.run(
                    ["kubectl", "kustomize", folder / "overlays" / overlay], check=True, capture_output=True, timeout=60
                ).stdout
            )
        )
        for overlay in OVERLAYS
    }


def of_kind(documents, kind):
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def container_of(documents):
    return of_kind(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def core(documents):
    return [each for each in documents if not each["apiVersion"].startswith(CUSTOM)]


def problem(document, version):
    """What the schemas of a Kubernetes version say against a resource; a name, which they do not require, it must have."""
    validate = pytest.importorskip("kubernetes_validate")
    if not document["metadata"].get("name"):
        return "metadata.name is missing"
    try:
        validate.validate(document, version, strict=True)
    except validate.ValidationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("version", [VERSIONS[0], pytest.param(VERSIONS[1], marks=pytest.mark.slow), VERSIONS[-1]])
def test_every_core_resource_is_valid(version, rendered):
    for overlay, documents in rendered.items():
        for document in core(documents):
            assert problem(document, version) is None, (overlay, document["kind"])


@pytest.mark.parametrize(
    "version", [*(pytest.param(each, marks=pytest.mark.slow) for each in VERSIONS[:-1]), VERSIONS[-1]]
)
def test_planted_errors_are_found(version, rendered):
    """The checks above notice an unknown field, a wrong type, and a field that is missing."""
    kinds = {each["kind"]: each for documents in rendered.values() for each in core(documents)}
    assert MISSING.keys() == kinds.keys()
    for kind, document in kinds.items():
        unknown = copy.deepcopy(document)
        (unknown.get("spec", unknown))["unknownField"] = 1
        assert problem(unknown, version) is not None, kind
        wrong = changed(document, ("metadata", "labels"), "mlrf")
        assert problem(wrong, version) is not None, kind
        short = changed(document, MISSING[kind], None)
        assert problem(short, version) is not None, kind


def test_pods_are_restricted(rendered):
    """What Kubernetes' Pod Security Standard "restricted" asks, and a read-only root."""
    for documents in rendered.values():
        pod = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        kinds = {next(key for key in volume if key != "name") for volume in pod["volumes"]}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        context = container_of(documents)["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_server_takes_the_variables_of_every_overlay(rendered, tmp_path):
    for documents in rendered.values():
        variables = {each["name"]: each["value"] for each in container_of(documents)["env"]}
        files = {name: value for name, value in variables.items() if value.startswith("/etc/mlrf/")}
        mounts = [each["mountPath"] for each in container_of(documents)["volumeMounts"]]
        assert all(any(value.startswith(f"{mount}/") for mount in mounts) for value in files.values())
        read_settings([str(tmp_path)], {name: value for name, value in variables.items() if name not in files})
        known = {each.variable for each in OPTIONS}
        assert files.keys() <= known


def test_pods_have_time_to_end(rendered):
    for documents in rendered.values():
        variables = {each["name"]: each["value"] for each in container_of(documents)["env"]}
        settings = read_settings(["bundle"], {k: v for k, v in variables.items() if not v.startswith("/")})
        seconds = of_kind(documents, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        # The arbiter gives workers 2 s beyond the drain before it kills them.
        assert seconds >= settings.shutdown_delay_s + settings.drain_timeout_s + 5
        readiness = container_of(documents)["readinessProbe"]
        assert settings.shutdown_delay_s > readiness["periodSeconds"] * readiness["failureThreshold"]


def test_probes_use_the_health_routes(rendered):
    for overlay, documents in rendered.items():
        container = container_of(documents)
        scheme = "HTTPS" if overlay == "tls" else None
        for probe, path in (("startupProbe", "/readyz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            probed = container[probe]["httpGet"]
            assert (probed["path"], probed["port"], probed.get("scheme")) == (path, "http", scheme)


def test_names_within_the_manifests_agree(rendered):
    for documents in rendered.values():
        deployment, service = of_kind(documents, "Deployment"), of_kind(documents, "Service")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        ports = {port["name"] for port in container_of(documents)["ports"]}
        selectors = [
            service["spec"]["selector"],
            deployment["spec"]["selector"]["matchLabels"],
            of_kind(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            of_kind(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ]
        assert all(selector.items() <= labels.items() for selector in selectors)
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
        allowed = {port["port"] for port in of_kind(documents, "NetworkPolicy")["spec"]["ingress"][0]["ports"]}
        assert allowed == ports
        assert {each["metadata"]["namespace"] for each in documents} == {"ml"}
        claimed = {
            v["secret"]["secretName"] for v in deployment["spec"]["template"]["spec"]["volumes"] if "secret" in v
        }
        made = {each["metadata"]["name"] for each in documents if each["kind"] == "Secret"}
        assert claimed - made <= {"sales-tls"}, "made by cert-manager"


def test_one_autoscaler_scales_the_deployment(rendered):
    for overlay, documents in rendered.items():
        kind = "ScaledObject" if overlay == "keda" else "HorizontalPodAutoscaler"
        scalers = [each for each in documents if each["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
        assert [each["kind"] for each in scalers] == [kind]
        assert scalers[0]["spec"]["scaleTargetRef"]["name"] == of_kind(documents, "Deployment")["metadata"]["name"]
        assert "replicas" not in of_kind(documents, "Deployment")["spec"]


def test_keda_queries_existing_metrics(rendered):
    names = {family.name for family in FAMILIES}
    queries = [
        each["metadata"]["query"]
        for each in of_kind(rendered["keda"], "ScaledObject")["spec"]["triggers"]
        if each["type"] == "prometheus"
    ]
    assert len(queries) == 2
    for query in queries:
        assert any(f"{name}{{" in query for name in names), query
        assert 'namespace="ml", service="sales"' in query


def test_the_alert_rules_are_those_of_the_one_file(rendered):
    rules = yaml.safe_load((ROOT / "monitoring/alerts.yml").read_text("utf-8"))
    for overlay in ("production", "keda"):
        assert of_kind(rendered[overlay], "PrometheusRule")["spec"] == rules


def test_the_monitor_finds_the_service_and_names_the_job(rendered):
    service, monitor = of_kind(rendered["production"], "Service"), of_kind(rendered["production"], "ServiceMonitor")
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "mlrf", "the alert rules ask for this job"
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_prometheus_has_what_a_scrape_needs(rendered):
    """A key wherever requests need one, and TLS wherever the server has it."""
    for overlay in OVERLAYS:
        (endpoint,) = of_kind(rendered[overlay], "ServiceMonitor")["spec"]["endpoints"]
        credentials = endpoint["authorization"]["credentials"]
        secrets = {each["metadata"]["name"]: each["data"] for each in rendered[overlay] if each["kind"] == "Secret"}
        assert credentials["key"] in secrets[credentials["name"]]
        assert endpoint.get("scheme", "http") == ("https" if overlay == "tls" else "http")


def test_grpc_goes_through_the_gateway(rendered):
    """Calls of each service reach its port: an HTTPRoute sends a request to the rule with the longest prefix."""
    ports = {port["port"]: port["name"] for port in of_kind(rendered["gateway"], "Service")["spec"]["ports"]}
    rules = of_kind(rendered["gateway"], "HTTPRoute")["spec"]["rules"]
    prefixes = {
        match["path"]["value"]: ports[rule["backendRefs"][0]["port"]] for rule in rules for match in rule["matches"]
    }
    assert prefixes.pop("/") == "http"
    assert prefixes == {call.path.rpartition("/")[0]: "grpc" for call in GRPC_CALLS}


def test_no_name_of_the_examples_is_left(folder):
    for file in folder.rglob("*"):
        assert file.is_dir() or "example-" not in file.read_text(), file


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "Sales_1"),
        ("--name", "-x"),
        ("--image", "a b"),
        ("--host", "a_b"),
        ("--prometheus", "prom:9090"),
        ("--name", "x" * 43),
        ("--name", "9a"),
        ("--image", "sales:"),
        ("--image", "Sales:1"),
        ("--image", "sales@sha256:1"),
        ("--host", "10.0.0.1"),
        ("--prometheus", "http://prom:"),
        ("--prometheus", "http://user:password@prom"),
    ],
)
def test_unrepresentable_values_name_the_option(option, value, tmp_path, capsys):
    given = {"--name": "sales", "--image": "sales:1"} | {option: value}
    options = [part for pair in given.items() for part in pair]
    assert main(["deploy", "kubernetes", "-o", str(tmp_path / "out"), *options]) == 2
    assert f"{option}: {value!r} is not " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "true"),
        ("--name", "null"),
        ("--name", "on"),
        ("--namespace", "null"),
        ("--namespace", "2026-01-01"),
        ("--image", "123"),
        ("--image", "1e5"),
        ("--gateway", "no"),
        ("--ingress-class", "1.5"),
    ],
)
def test_values_that_yaml_reads_as_no_text_are_refused(option, value, tmp_path, capsys):
    given = {"--name": "sales", "--image": "sales:1"} | {option: value}
    options = [part for pair in given.items() for part in pair]
    assert main(["deploy", "kubernetes", "-o", str(tmp_path / "out"), *options]) == 2
    assert f"{option}: YAML reads {value!r} as" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--namespace", "9-teams"),
        ("--namespace", "x" * 63),
        ("--ingress-class", "nginx.internal"),
        ("--image", f"localhost:5000/a/b__c:1.0@sha256:{'0' * 64}"),
        ("--prometheus", "https://prom.example:9090/prefix"),
    ],
)
def test_values_that_kubernetes_takes_are_written(option, value, tmp_path):
    given = {"--name": "sales", "--image": "sales:1"} | {option: value}
    options = [part for pair in given.items() for part in pair]
    assert main(["deploy", "kubernetes", "-o", str(tmp_path / "out"), *options]) == 0
    assert any(value in file.read_text() for file in (tmp_path / "out").rglob("*.yaml"))
