"""Reads a bundle that is served from a directory of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlrf.core.bundle import Bundle, Check, begin_bundle
from mlrf.core.bundle_files import digest_file
from mlrf.core.named_bundle import version_directory
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.processes.signature_check import check_signature


def read_single_bundle(path: Path, settings: ServeSettings) -> Bundle:
    """Return the bundle in a directory of its own, under the name that it is served by; BundleError when it is not sound.

    REPOSITORY/NAME@VERSION is such a bundle too: that version, whatever the repository points to.
    """
    bundle, check = begin_single_bundle(path, settings)
    check(digest_file)
    return bundle


def begin_single_bundle(path: Path, settings: ServeSettings) -> tuple[Bundle, Check]:
    """Return the same bundle as soon as its manifest and schema were read, and the function that checks its files."""
    bundle, check = begin_bundle(version_directory(path), allow_links=settings.allow_links)
    if settings.require_signature:
        check(digest_file)
        check_signature(bundle, settings.require_signature)
    return msgspec.structs.replace(bundle, served_name=settings.model_name), check
