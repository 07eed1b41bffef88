"""Finds the bundles that a worker opens: in a repository, in memory pinned by the arbiter, or at their path.

A version in a repository never changes. A bundle in a directory of its own may be rebuilt while it is served, so it is
read when it is requested, and opened from memory from then on (`pin_model`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec

from mlrf.core.bundle import Bundle, read_pinned
from mlrf.core.errors import BundleError
from mlrf.core.repository import Version, is_digest_prefix
from mlrf.serving.processes.pinned_files import close_descriptors, open_descriptors, pin_bundle
from mlrf.serving.processes.reload_messages import Plan
from mlrf.serving.processes.single_bundle import read_single_bundle
from mlrf.serving.processes.worker_boot import WorkerBoot


@contextmanager
def bundles_of(boot: WorkerBoot, plan: Plan) -> Iterator[list[Bundle]]:
    """Yield the bundles of a plan: those that the arbiter read, or, for versions loaded since then, those on disk.

    Open them immediately: the arbiter's descriptors, which this process inherited, are closed afterwards.
    """
    try:
        yield [_of_plan(boot, plan, bundle) for bundle in boot.bundles]
    finally:
        for pinned in boot.pinned.values():
            close_descriptors(pinned)
        boot.pinned = {}


def _of_plan(boot: WorkerBoot, plan: Plan, bundle: Bundle) -> Bundle:
    name, in_repository = bundle.name, bundle.name in boot.model_directories
    if name in plan.unloaded:
        # It may no longer be on disk; only its schema is needed, which callers were promised.
        last = plan.unloaded[name]
        if in_repository and last.digest != bundle.version:
            with suppress(BundleError):
                return boot.model_directories[name].read(last)
        return msgspec.structs.replace(bundle, pinned={})
    version = plan.versions[name]
    if name in plan.pinned:
        return _as_served(bundle, read_pinned(bundle.path, version.digest, boot.pinned[name]))
    if in_repository and (version.digest != bundle.version or boot.has_answered()):
        return boot.model_directories[name].read(version)
    return bundle


def find(boot: WorkerBoot, name: str, requested: str | None) -> tuple[Version, dict[str, int]]:
    """Return the version of a model with a number or the first digits of a digest; the current one for None.

    Also returns the pinned files of a bundle in a directory of its own, which the caller closes. BundleError if there is
    no such version.
    """
    model_directory = boot.model_directories.get(name)
    if model_directory is not None:
        return model_directory.find(requested), {}
    served = _served_at_start(boot, name)
    path = served.path
    bundle = _as_served(served, read_single_bundle(path, boot.settings))
    if bundle.name != name:
        raise BundleError(
            f"{path} now contains the model {bundle.name!r}, not {name!r}; restart the server to serve it"
        )
    is_named = requested in (None, "1") or (is_digest_prefix(requested) and bundle.version.startswith(requested))
    if not is_named:
        raise BundleError(
            f"{name} is served from a bundle directory, which has one version; publish it to a repository with `mlrf "
            "publish` and serve that",
            version=requested,
        )
    return Version(1, bundle.version), pin_bundle(bundle, boot.settings.engine)


@contextmanager
def opened(boot: WorkerBoot, name: str, version: Version, pinned: Mapping[str, int]) -> Iterator[Bundle]:
    """Yield the bundle of a version, to be opened immediately.

    `pinned` are the arbiter's descriptors of one that is in no repository.
    """
    model_directory = boot.model_directories.get(name)
    if model_directory is not None:
        yield model_directory.read(version)
        return
    taken, served = open_descriptors(boot.arbiter, pinned), _served_at_start(boot, name)
    try:
        yield _as_served(served, read_pinned(served.path, version.digest, taken))
    finally:
        close_descriptors(taken)


def _as_served(served: Bundle, bundle: Bundle) -> Bundle:
    """Return a bundle under the name of the one that the server started with."""
    return msgspec.structs.replace(bundle, served_name=served.served_name)


def _served_at_start(boot: WorkerBoot, name: str) -> Bundle:
    return next(bundle for bundle in boot.bundles if bundle.name == name)
