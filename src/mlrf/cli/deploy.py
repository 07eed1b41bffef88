"""`mlrf deploy`: writes files for deploying a server, with the user's names filled in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

import mlrf
from mlrf.cli.path_arguments import path_option, path_or_written_address
from mlrf.core.errors import ConfigError
from mlrf.deploy.alert_rules import alert_groups
from mlrf.deploy.checked_values import (
    FILE_NAME,
    HOST_NAME,
    IMAGE,
    NAMESPACE,
    PATH,
    RESOURCE_NAME,
    SERVICE_NAME,
    STORE,
    UNIT_NAME,
    URI,
    URL,
    checked,
    checked_address,
)
from mlrf.deploy.templates import write_files
from mlrf.stores.address import is_address, path_text

deploy = typer.Typer(
    name="deploy", help="Write files for deploying a server.", no_args_is_help=True, rich_markup_mode=None
)
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
        "name": checked("--name", name, SERVICE_NAME),
        "namespace": checked("--namespace", namespace, NAMESPACE),
        "image": checked("--image", image, IMAGE),
        "host": checked("--host", host, HOST_NAME),
        "ingress-class": checked("--ingress-class", ingress_class, RESOURCE_NAME),
        "gateway": checked("--gateway", gateway, RESOURCE_NAME),
        "gateway-namespace": checked("--gateway-namespace", gateway_namespace, NAMESPACE),
        "monitoring-namespace": checked("--monitoring-namespace", monitoring_namespace, NAMESPACE),
        "prometheus": checked("--prometheus", prometheus, URL),
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
        "name": checked("--name", name, SERVICE_NAME),
        "namespace": checked("--namespace", namespace, NAMESPACE),
        "image": checked("--image", image, IMAGE),
        "build-image": checked("--build-image", build_image, IMAGE),
        "storage-uri": checked("--storage-uri", storage_uri, URI),
        "model-file": checked("--model-file", model_file, FILE_NAME),
    }
    stem = storage_uri.rstrip("/")
    values["raw-uri"] = checked("--raw-uri", f"{stem}.txt" if raw_uri is None else raw_uri, URI)
    values["canary-uri"] = checked("--canary-uri", f"{stem}-next" if canary_uri is None else canary_uri, URI)
    _report(out, write_files("kserve", out, values))


@deploy.command()
def systemd(
    out: _Out,
    name: _Name,
    bundle: Annotated[
        Path,
        typer.Option(
            "--bundle",
            parser=path_or_written_address,
            metavar="<path>",
            help="Bundle, repository or address of a store.",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    exec_path: Annotated[
        Path | None,
        path_option("The mlrf command to run: a path, or a name on PATH (default: this one).", "--exec"),
    ] = None,
) -> None:
    """Write a service and a socket unit for systemd, and the server's settings.

    Example: mlrf deploy systemd -o units --name sales --bundle /srv/sales-bundle
    """
    address, socket_address = checked_address("--host", host)
    values = {
        "name": checked("--name", name, UNIT_NAME),
        "bundle": checked("--bundle", path_text(bundle), STORE if is_address(bundle) else PATH),
        "host": address,
        "socket-host": socket_address,
        "port": str(port),
        "exec": checked("--exec", _program(exec_path), PATH),
        # A store that cannot be reached when the server starts is back sooner or later.
        "final-statuses": "2" if is_address(bundle) else "2 3",
    }
    _report(out, write_files("systemd", out, values))


def _program(given: Path | None) -> str:
    """Return the whole path of the `mlrf` command to run: the one given, or else the one that runs now."""
    if given is None:
        # `python -m mlrf` runs a module, which systemd cannot execute.
        started = Path(sys.argv[0])
        return str((started if started.name != "__main__.py" else Path(sys.executable).with_name("mlrf")).absolute())
    if given.name != str(given):
        return str(given.absolute())
    found = shutil.which(given.name)
    if found is None:
        raise ConfigError(f"--exec: {given.name!r} is not on PATH; give its whole path", option="--exec")
    return str(Path(found).absolute())
