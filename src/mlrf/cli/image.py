"""`mlrf image`: the build context of a container image with one bundle in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

import mlrf
from mlrf.cli.bundle_argument import BundleArgument
from mlrf.cli.path_arguments import path_option
from mlrf.core.errors import BuildError, ConfigError
from mlrf.core.manifest import ONNX_MODEL
from mlrf.core.named_bundle import open_bundle
from mlrf.deploy.checked_values import IMAGE, checked, image_name
from mlrf.deploy.templates import write_files
from mlrf.engines.selection import engine_file

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755


def image(
    bundle: BundleArgument,
    out: Annotated[
        Path,
        path_option("Directory to write the context to.", "--out", "-o"),
    ],
    base: Annotated[
        str, typer.Option("--base", help="The server's image, as built from `mlrf deploy container`.")
    ] = f"localhost/mlrf:{mlrf.__version__}",
) -> None:
    """Write the build context of an image that serves one bundle: a Containerfile, and the bundle, checked and copied.

    The image needs no volume: `IMAGE serve` finds the bundle at /opt/ml/model.

    Example: mlrf image sales-bundle -o sales-image && podman build --tag sales sales-image
    """
    source = open_bundle(bundle)
    if source.path.resolve() in out.resolve().parents:
        raise ConfigError(
            f"--out: {out} is inside the bundle, which is copied into it; name another one", option="--out"
        )
    values = {
        "name": source.name,
        "image-name": image_name(source.name),
        "digest": source.short_version,
        "mlrf-image": checked("--base", base, IMAGE),
    }
    write_files("image", out, values)
    copy = out / "bundle"
    try:
        shutil.copytree(source.path, copy, copy_function=shutil.copyfile)
        copy.chmod(_DIRECTORY_MODE)
        for file in copy.iterdir():
            # The container runs as another user than the one who built the image, and must be able to read the files.
            file.chmod(_FILE_MODE)
    except (OSError, shutil.Error) as error:
        raise BuildError(f"{copy} cannot be written: {error}; remove {out}, or name another directory") from error
    typer.echo(f"{out}: an image of {source.name} {source.short_version}; build it with `podman build {out}`")
    if engine_file(source) == ONNX_MODEL:
        typer.echo(
            f"{source.name} needs ONNX Runtime: build {base} with --build-arg REQUIREMENTS=requirements-onnx.txt"
        )
