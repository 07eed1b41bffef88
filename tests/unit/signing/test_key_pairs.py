"""Key files: every kind that signs, and what is given in a key's place."""

from __future__ import annotations

import stat
import subprocess

import pytest

from mlrf.core.errors import ConfigError
from mlrf.signing.key_pairs import generate, read_private_key, read_public_keys
from signed_bundles import make_pair, openssl_pair

EC = ("-algorithm", "EC", "-pkeyopt")


@pytest.mark.parametrize(
    "algorithm",
    [
        ("-algorithm", "ED25519"),
        (*EC, "ec_paramgen_curve:P-256"),
        (*EC, "ec_paramgen_curve:P-384"),
        (*EC, "ec_paramgen_curve:P-521"),
    ],
    ids=lambda each: each[-1],
)
def test_openssl_keys_sign_and_verify(algorithm, tmp_path):
    private, public = openssl_pair(tmp_path, *algorithm)
    key, [trusted] = read_private_key(private), read_public_keys([public])
    signature = key.sign(b"content")
    assert key.id == trusted.id
    assert trusted.verifies(signature, b"content")
    assert not trusted.verifies(signature, b"Content")
    assert not trusted.verifies(signature[:-1], b"content")
    assert not trusted.verifies(b"", b"content")


def test_a_generated_private_key_is_its_owners_alone(tmp_path):
    private, public = make_pair(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert read_private_key(private).id == read_public_keys([public])[0].id


def test_no_key_file_is_overwritten(tmp_path):
    private, public = make_pair(tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        generate(private)
    private.unlink()
    before = public.read_bytes()
    with pytest.raises(ConfigError, match=r"\.pub exists"):
        generate(private)
    assert (public.read_bytes(), private.exists()) == (before, False)


def test_an_encrypted_key_needs_its_passphrase(tmp_path):
    right, wrong, empty = (tmp_path / name for name in ("right", "wrong", "empty"))
    right.write_text("correct horse\n")
    wrong.write_text("incorrect horse\n")
    empty.write_text("\n")
    file = tmp_path / "release.key"
    generate(file, right)
    assert b"ENCRYPTED" in file.read_bytes()
    assert read_private_key(file, right).id
    with pytest.raises(ConfigError, match="is encrypted; give --passphrase-file"):
        read_private_key(file)
    with pytest.raises(ConfigError, match="not one that this passphrase opens"):
        read_private_key(file, wrong)
    with pytest.raises(ConfigError, match="is empty"):
        generate(tmp_path / "other.key", empty)
    plain, _ = make_pair(tmp_path, "plain")
    with pytest.raises(ConfigError, match="is not encrypted"):
        read_private_key(plain, right)


def test_what_is_no_public_key_is_refused_with_a_remedy(tmp_path):
    private, public = make_pair(tmp_path)
    file = tmp_path / "given"

    def refusal(content: bytes) -> str:
        file.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            read_public_keys([public, file])
        return str(refused.value)

    assert "but a private one" in refusal(private.read_bytes())
    assert "`ssh-keygen -e -m pkcs8" in refusal(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample someone")
    certificate = ["openssl", "req", "-x509", "-key", str(private), "-subj", "/CN=x", "-days", "1"]
    assert "openssl x509 -pubkey" in refusal(subprocess.run(certificate, check=True, capture_output=True).stdout)
    for content in (b"", b"\0\xff", public.read_bytes()[:-60], public.read_bytes().replace(b"M", b"N", 1)):
        assert "is not a public key in PEM form" in refusal(content)
    assert "too many for a key" in refusal(bytes(1 << 17))
    for algorithm in (("-algorithm", "RSA"), (*EC, "ec_paramgen_curve:secp256k1"), ("-algorithm", "X25519")):
        _, foreign = openssl_pair(tmp_path, *algorithm)
        assert "of this kind" in refusal(foreign.read_bytes())
    with pytest.raises(ConfigError, match="cannot be read"):
        read_public_keys([tmp_path / "absent"])
    with pytest.raises(ConfigError, match="is not a private key"):
        read_private_key(public)


def test_a_private_key_that_cannot_be_read_is_not_called_malformed(tmp_path):
    with pytest.raises(ConfigError, match="absent cannot be read: No such file"):
        read_private_key(tmp_path / "absent")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_private_key(tmp_path)
    (tmp_path / "large").write_bytes(bytes(1 << 17))
    with pytest.raises(ConfigError, match="too many for a key"):
        read_private_key(tmp_path / "large")
