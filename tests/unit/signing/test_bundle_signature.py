"""Signatures of bundles: what they bind, and everything that must not pass for one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil

import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, ConfigError, RepositoryError
from mlrf.core.publishing import publish
from mlrf.signing.bundle_signature import sign_bundle, verify_bundle
from mlrf.signing.envelope import seal
from mlrf.signing.key_pairs import read_private_key, read_public_keys
from mlrf.signing.statement import encode_statement
from signed_bundles import make_pair, openssl_pair, signed

SIGNATURE = "model.sig"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two signed versions of one model, and the pair that signed them."""
    folder = tmp_path_factory.mktemp("signed")
    key, _ = make_pair(folder)
    for seed in (7, 8):
        signed(write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed), key)
    return folder


@pytest.fixture
def bundle(home, tmp_path):
    return shutil.copytree(home / "7", tmp_path / "bundle")


@pytest.fixture
def trusted(home):
    return read_public_keys([home / "release.key.pub"])


def refusal(bundle, keys, **rest):
    with pytest.raises(BundleError) as refused:
        verify_bundle(read_bundle(bundle, **rest), keys)
    return str(refused.value)


def test_signing_leaves_the_version_as_it_was(home, bundle, trusted):
    before = read_bundle(bundle).version
    (bundle / SIGNATURE).unlink()
    assert read_bundle(bundle).version == before
    signed(bundle, home / "release.key")
    assert read_bundle(bundle).version == before
    assert verify_bundle(read_bundle(bundle), trusted).key.id == trusted[0].id


def test_provenance_is_what_the_signer_said(home, bundle, trusted, tmp_path):
    source = tmp_path / "model.txt"
    source.write_bytes(b"tree\n")
    signed(bundle, home / "release.key", built_by="pipeline 12", sources=[source])
    provenance = verify_bundle(read_bundle(bundle), trusted).provenance
    [material] = provenance.build_definition.resolved_dependencies
    assert (material.name, material.digest) == ("model.txt", {"sha256": hashlib.sha256(b"tree\n").hexdigest()})
    assert provenance.run_details.builder.id == "pipeline 12"
    with pytest.raises(ConfigError, match=r"--source: .*absent cannot be read"):
        sign_bundle(read_bundle(bundle), read_private_key(home / "release.key"), sources=[tmp_path / "absent"])


def test_any_of_several_keys_will_do(bundle, trusted, tmp_path):
    _, other = openssl_pair(tmp_path, "-algorithm", "ED25519")
    keys = [*read_public_keys([other]), *trusted]
    assert verify_bundle(read_bundle(bundle), keys).key.id == trusted[0].id


def test_an_unsigned_bundle_is_refused(bundle, trusted):
    (bundle / SIGNATURE).unlink()
    assert "model.sig is missing, and a signature is required; sign the bundle with `mlrf sign`" in refusal(
        bundle, trusted
    )


def test_a_foreign_key_is_refused(bundle, trusted, tmp_path):
    foreign, public = make_pair(tmp_path, "foreign")
    assert "is signed with another key" in refusal(bundle, read_public_keys([public]))
    signed(bundle, foreign)
    assert "is signed with another key" in refusal(bundle, trusted)


def test_a_hint_is_not_believed(bundle, trusted, tmp_path):
    foreign, _ = make_pair(tmp_path, "foreign")
    signed(bundle, foreign)
    document = json.loads((bundle / SIGNATURE).read_bytes())
    document["verificationMaterial"]["publicKey"]["hint"] = trusted[0].id
    (bundle / SIGNATURE).write_text(json.dumps(document))
    assert "was altered" in refusal(bundle, trusted)


def test_a_signature_of_another_version_is_refused(home, bundle, trusted):
    shutil.copyfile(home / "8" / SIGNATURE, bundle / SIGNATURE)
    assert "signature of another bundle or version: forest.bin" in refusal(bundle, trusted)


def test_a_file_added_or_taken_with_a_new_manifest_is_refused(bundle, trusted):
    original = json.loads((bundle / "manifest.json").read_bytes())
    for change in ("added", "altered", "taken"):
        document = json.loads(json.dumps(original))
        if change == "added":
            (bundle / "more.bin").write_bytes(b"more")
            document["files"]["more.bin"] = {
                "sha256": "187897ce0afcf20b50ba2b37dca84a951b7046f29ed5ab94f010619f69d6e189", "size_bytes": 4,
            }  # fmt: skip
        elif change == "altered":
            (bundle / "more.bin").unlink()
            document["objective"] = "other"
        else:
            (bundle / "model.onnx").unlink()
            del document["files"]["model.onnx"]
        (bundle / "manifest.json").write_text(json.dumps(document))
        assert "signature of another bundle or version" in refusal(bundle, trusted), change


def test_a_damaged_signature_file_is_refused(bundle, trusted):
    whole = (bundle / SIGNATURE).read_bytes()
    for end in (0, 1, len(whole) // 2, len(whole) - 5):
        (bundle / SIGNATURE).write_bytes(whole[:end])
        assert "is not a signature file" in refusal(bundle, trusted)
    for content in (b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000):
        (bundle / SIGNATURE).write_bytes(content)
        assert "is not a signature file" in refusal(bundle, trusted)
    (bundle / SIGNATURE).write_bytes(bytes(2 << 20))
    with pytest.raises(BundleError, match="too many for a signature"):
        read_bundle(bundle)


@pytest.mark.parametrize("part", ["payload", "sig", "payloadType", "mediaType", "two", "none"])
def test_every_part_of_the_envelope_counts(part, bundle, trusted):
    document = json.loads((bundle / SIGNATURE).read_bytes())
    envelope = document["dsseEnvelope"]
    if part == "payload":
        payload = base64.b64decode(envelope["payload"]).replace(b'"sample"', b'"Sample"')
        envelope["payload"] = base64.b64encode(payload).decode()
    elif part == "sig":
        raw = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
        raw[-1] ^= 1
        envelope["signatures"][0]["sig"] = base64.b64encode(raw).decode()
    elif part == "payloadType":
        envelope["payloadType"] = "text/plain"
    elif part == "mediaType":
        document["mediaType"] = "application/json"
    elif part == "two":
        envelope["signatures"] *= 2
    else:
        envelope["signatures"] = []
    (bundle / SIGNATURE).write_text(json.dumps(document))
    assert "was altered" in refusal(bundle, trusted) or "is not one signature" in refusal(bundle, trusted)


def forged_statement(home, bundle, change):
    """Sign a statement that differs from the right one by `change`."""
    statement = json.loads(encode_statement(read_bundle(bundle), "", []))
    change(statement)
    (bundle / SIGNATURE).write_bytes(seal(json.dumps(statement).encode(), read_private_key(home / "release.key")))


def _set(path, value):
    def change(statement):
        for name in path[:-1]:
            statement = statement[name]
        statement[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_set(["predicateType"], "https://slsa.dev/provenance/v1"), "a statement of another kind"),
        (_set(["_type"], "https://in-toto.io/Statement/v0.1"), "a statement of another kind"),
        (_set(["subject", 0, "digest"], {"sha256": "00" * 32}), "is inconsistent"),
        (_set(["subject"], []), "is inconsistent"),
        (_set(["predicate", "resources", 0, "algorithm"], "md5"), "that is not SHA-256"),
        (_set(["predicate", "resources", 0, "digest"], "zz"), "for a digest"),
        (_set(["predicate", "resources"], []), "is inconsistent"),
        (lambda each: each["predicate"]["resources"].append(each["predicate"]["resources"][0]), "names a file twice"),
        (_set(["predicate"], None), "does not contain a statement"),
    ],
)
def test_a_trusted_keys_other_statements_do_not_count(home, bundle, trusted, change, sentence):
    forged_statement(home, bundle, change)
    assert sentence in refusal(bundle, trusted)


def test_links_and_pipes_in_its_place_are_refused(home, bundle, trusted):
    (bundle / SIGNATURE).unlink()
    (bundle / SIGNATURE).symlink_to(home / "7" / SIGNATURE)
    with pytest.raises(BundleError, match="is not a regular file"):
        read_bundle(bundle)
    assert verify_bundle(read_bundle(bundle, allow_links=True), trusted)
    found = read_bundle(bundle, allow_links=True)
    (bundle / SIGNATURE).unlink()
    os.mkfifo(bundle / SIGNATURE)
    with pytest.raises(BundleError, match="is not a regular file"):
        verify_bundle(found, trusted)
    (bundle / SIGNATURE).unlink()
    (bundle / SIGNATURE).mkdir()
    with pytest.raises(BundleError, match="is not a regular file"):
        read_bundle(bundle)


def test_a_link_put_there_after_the_reading_is_not_followed(home, bundle, trusted):
    found = read_bundle(bundle)
    (bundle / SIGNATURE).unlink()
    (bundle / SIGNATURE).symlink_to(home / "7" / SIGNATURE)
    with pytest.raises(BundleError, match="cannot be read"):
        verify_bundle(found, trusted)


def test_a_signature_being_written_is_no_part_of_the_bundle(bundle, trusted):
    (bundle / f".{SIGNATURE}.writing-12345").write_bytes(b"half")
    assert verify_bundle(read_bundle(bundle), trusted)
    (bundle / ".model.sig").write_bytes(b"")
    with pytest.raises(BundleError, match="not in the manifest"):
        read_bundle(bundle)


def test_publishing_takes_the_signature_along(home, bundle, trusted, tmp_path):
    directory, version = publish(bundle, tmp_path / "models")
    assert verify_bundle(directory.read(version), trusted)


def test_publishing_again_replaces_the_signature(home, bundle, trusted, tmp_path):
    (bundle / SIGNATURE).unlink()
    directory, version = publish(bundle, tmp_path / "models")
    signed(bundle, home / "release.key")
    assert publish(bundle, tmp_path / "models")[1] == version
    assert verify_bundle(directory.read(version), trusted)
    (bundle / SIGNATURE).unlink()
    publish(bundle, tmp_path / "models")
    assert verify_bundle(directory.read(version), trusted)
    published = directory.path / str(version.number)
    assert publish(published, tmp_path / "models")[1] == version
    assert verify_bundle(directory.read(version), trusted)


def test_a_directory_that_cannot_be_written_is_named(home, bundle, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mlrf.signing.bundle_signature.replace_file", refuse)
    with pytest.raises(RepositoryError, match="cannot be written: Permission denied; sign a copy"):
        signed(bundle, home / "release.key")
