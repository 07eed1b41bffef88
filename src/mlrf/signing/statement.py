"""The signed statement about a bundle: an in-toto statement of OpenSSF Model Signing 1.0, with provenance as a further member.

It names the manifest and every file that the manifest lists, with their digests, and nothing else. Model Signing asks verifiers
to ignore members that they do not know, so its own tools verify these statements, and theirs about a bundle are read here.
Format: https://github.com/sigstore/model-transparency (`model_signing`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError
from mlrf.core.manifest import MANIFEST, SIGNATURE

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_BUILD_TYPE = "pkg:pypi/mlrf"


class Material(msgspec.Struct, frozen=True):
    """A file that a bundle was built from: its name and digests."""

    name: str
    digest: dict[str, str]


class BuildDefinition(msgspec.Struct, frozen=True, rename="camel"):
    """What was built, and from which files."""

    build_type: str = _BUILD_TYPE
    external_parameters: dict[str, Any] = {}
    resolved_dependencies: list[Material] = []


class Builder(msgspec.Struct, frozen=True):
    """Who built it, and with which versions."""

    id: str = ""
    version: dict[str, str] = {}


class RunDetails(msgspec.Struct, frozen=True, rename="camel"):
    """The run that built it."""

    builder: Builder = Builder()


class Provenance(msgspec.Struct, frozen=True, rename="camel"):
    """Who built a bundle, from which files, with which versions, in the shape of SLSA's provenance 1.0: a signer's claim."""

    build_definition: BuildDefinition = BuildDefinition()
    run_details: RunDetails = RunDetails()


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct, frozen=True):
    serialization: dict[str, Any]
    resources: list[_Resource]
    provenance: Provenance = Provenance()


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    subject: list[_Subject]
    predicate_type: str
    predicate: _Predicate
    type: str = msgspec.field(name="_type")


def encode_statement(bundle: Bundle, built_by: str, sources: list[Material]) -> bytes:
    """Return the statement about a bundle as JSON."""
    manifest = bundle.manifest
    definition = BuildDefinition(
        external_parameters={"name": manifest.name, "objective": manifest.objective, "library": manifest.library},
        resolved_dependencies=sources,
    )
    provenance = Provenance(definition, RunDetails(Builder(built_by, manifest.libraries)))
    digests = _digests(bundle)
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE],
    }
    predicate = _Predicate(
        serialization, [_Resource(name, "sha256", digest) for name, digest in digests.items()], provenance
    )
    subject = _Subject(manifest.name, {"sha256": _root_digest(digests)})
    return msgspec.json.encode(_Statement([subject], _PREDICATE_TYPE, predicate, _STATEMENT_TYPE))


def check_statement(payload: bytes, bundle: Bundle) -> Provenance:
    """Return the provenance in a signed statement; BundleError when the statement is not about exactly this bundle."""
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"does not contain a statement about a model: {error}; sign the bundle again") from error
    if statement.type != _STATEMENT_TYPE or statement.predicate_type != _PREDICATE_TYPE:
        raise BundleError(f"is a statement of another kind ({statement.predicate_type}); sign the bundle again")
    resources = statement.predicate.resources
    signed = {each.name: each.digest for each in resources if each.algorithm == "sha256"}
    if len(signed) != len(resources):
        raise BundleError("names a file twice, or a digest that is not SHA-256; sign the bundle again")
    if [each.digest for each in statement.subject] != [{"sha256": _root_digest(signed)}]:
        raise BundleError("is inconsistent: its subject is not the digest of its files; sign the bundle again")
    actual = _digests(bundle)
    if signed != actual:
        names = sorted(name for name in signed.keys() | actual.keys() if signed.get(name) != actual.get(name))
        raise BundleError(
            f"is the signature of another bundle or version: {', '.join(names)} differ; sign this version, or restore "
            "the one that was signed"
        )
    return statement.predicate.provenance


def _digests(bundle: Bundle) -> dict[str, str]:
    """Return the digest of each file of a bundle in the order of their names, the signature left out."""
    listed = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    return dict(sorted({**listed, MANIFEST: bundle.version}.items()))


def _root_digest(digests: dict[str, str]) -> str:
    """Return Model Signing's digest of all files: SHA-256 over their digests, in the order of the statement."""
    total = hashlib.sha256()
    for digest in digests.values():
        try:
            total.update(bytes.fromhex(digest))
        except ValueError as error:
            raise BundleError(f"has {digest[:80]!r} for a digest; sign the bundle again") from error
    return total.hexdigest()
