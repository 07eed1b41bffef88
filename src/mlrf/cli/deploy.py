"""`mlrf deploy`: writes files for deploying a server, with the user's names filled in."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

import mlrf
from mlrf.cli.path_arguments import path_option
from mlrf.core.errors import ConfigError
from mlrf.deploy.alert_rules import alert_groups
from mlrf.deploy.templates import write_files

deploy = typer.Typer(
    name="deploy", help="Write files for deploying a server.", no_args_is_help=True, rich_markup_mode=None
)
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
_IMAGE = re.compile(r"[a-zA-Z0-9][\w.:/@-]*")
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ADDRESS = re.compile(r"[0-9.]+|\[[0-9a-f:.]+\]")
_PATH = re.compile(r"/[\w./@+-]*")
_URI = re.compile(r"[a-z][a-z0-9+-]*://[\w./:@%?=&+-]+")
_FILE = re.compile(r"[\w.-]+")
_URL = re.compile(r"https?://[\w.:/-]+")
_Out = Annotated[
    Path,
    path_option("Directory to write to; it must be empty or not exist.", "--out", "-o"),
]

_Name = Annotated[str, typer.Option("--name", help="Name of the service: lower-case letters, digits and -.")]
_Image = Annotated[str, typer.Option("--image", help="Container image, as registry/name:tag or registry/name@digest.")]
_Namespace = Annotated[str, typer.Option("--namespace", help="Namespace of all resources.")]


def _report(out: Path, files: list[Path]) -> None:
    for file in files:
        typer.echo(out / file)


@deploy.command()
def container(out: _Out) -> None:
    """Write the build context of the server's image: a Containerfile, and its requirements with their hashes.

    Example: mlrf deploy container -o image && podman build --format docker --tag mlrf image
    """
    _report(out, write_files("container", out, {"version": mlrf.__version__}))


@deploy.command()
def kubernetes(
    out: _Out,
    name: _Name,
    image: _Image,
    namespace: _Namespace = "default",
    host: Annotated[str, typer.Option(help="Host name of ingress and gateway.")] = "models.example.com",
    ingress_class: Annotated[str, typer.Option(help="Class of the ingress.")] = "nginx",
    gateway: Annotated[str, typer.Option(help="Name of the gateway.")] = "gateway",
    gateway_namespace: Annotated[
        str, typer.Option(help="Namespace of gateway or ingress controller, which may send requests.")
    ] = "ingress-nginx",
    monitoring_namespace: Annotated[
        str, typer.Option(help="Namespace of Prometheus, which may scrape.")
    ] = "monitoring",
    prometheus: Annotated[
        str, typer.Option(help="Address of Prometheus, for KEDA.")
    ] = "http://prometheus-operated.monitoring.svc:9090",
) -> None:
    """Write manifests for Kubernetes, as Kustomize's bases, components and overlays.

    Example: mlrf deploy kubernetes -o k8s --name sales --image registry/sales:1 && kubectl kustomize k8s/overlays/production
    """
    values = {
        "name": _checked("--name", name, _LABEL),
        "namespace": _checked("--namespace", namespace, _LABEL),
        "image": _checked("--image", image, _IMAGE),
        "host": _checked("--host", host, _HOST),
        "ingress-class": _checked("--ingress-class", ingress_class, _LABEL),
        "gateway": _checked("--gateway", gateway, _LABEL),
        "gateway-namespace": _checked("--gateway-namespace", gateway_namespace, _LABEL),
        "monitoring-namespace": _checked("--monitoring-namespace", monitoring_namespace, _LABEL),
        "prometheus": _checked("--prometheus", prometheus, _URL),
        "alert-groups": alert_groups(indent=4),
    }
    _report(out, write_files("kubernetes", out, values))


@deploy.command()
def kserve(
    out: _Out,
    name: _Name,
    image: _Image,
    storage_uri: Annotated[
        str, typer.Option(help="Where KServe fetches the bundle from, as s3://bucket/sales-bundle.")
    ],
    namespace: _Namespace = "default",
    canary_uri: Annotated[
        str | None, typer.Option(help="Where it fetches the next bundle from, for the canary.")
    ] = None,
    raw_uri: Annotated[str | None, typer.Option(help="Where it fetches a model file from, to build at start.")] = None,
    build_image: Annotated[
        str, typer.Option(help="Image with mlrf and the training library, for what builds a bundle.")
    ] = "localhost/mlrf-build:latest",
    model_file: Annotated[str, typer.Option(help="The model file that the Job builds from.")] = "model.txt",
) -> None:
    """Write a serving runtime for KServe, InferenceServices that use it, and a Job that builds a bundle from a model file.

    Example: mlrf deploy kserve -o kserve --name sales --image registry/mlrf:1 --storage-uri s3://models/sales-bundle
    """
    values = {
        "name": _checked("--name", name, _LABEL),
        "namespace": _checked("--namespace", namespace, _LABEL),
        "image": _checked("--image", image, _IMAGE),
        "raw-uri": _checked("--raw-uri", raw_uri or f"{storage_uri}.txt", _URI),
        "build-image": _checked("--build-image", build_image, _IMAGE),
        "storage-uri": _checked("--storage-uri", storage_uri, _URI),
        "canary-uri": _checked("--canary-uri", canary_uri or f"{storage_uri}-next", _URI),
        "model-file": _checked("--model-file", model_file, _FILE),
    }
    _report(out, write_files("kserve", out, values))


@deploy.command()
def systemd(
    out: _Out,
    name: _Name,
    bundle: Annotated[Path, path_option("Bundle or repository.", "--bundle")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    exec_path: Annotated[
        Path | None,
        typer.Option("--exec", metavar="<path>", help="Path of the mlrf command to run (default: this one)."),
    ] = None,
) -> None:
    """Write a service and a socket unit for systemd, and the server's settings.

    Example: mlrf deploy systemd -o units --name sales --bundle /srv/sales-bundle
    """
    values = {
        "name": _checked("--name", name, _LABEL),
        "bundle": _checked("--bundle", str(bundle.absolute()), _PATH),
        "host": _checked("--host", host, _ADDRESS),
        "port": str(port),
        "exec": _checked("--exec", str((exec_path or Path(sys.argv[0])).absolute()), _PATH),
    }
    _report(out, write_files("systemd", out, values))


def _checked(option: str, value: str, pattern: re.Pattern[str]) -> str:
    """Return a value if it may be written into manifests unchanged; ConfigError for any other."""
    if pattern.fullmatch(value) is None:
        allowed = "at most 42 lower-case letters, digits and -" if pattern is _LABEL else "of that kind"
        raise ConfigError(f"{option}: {value!r} is not {allowed}; give another one", option=option)
    return value
