"""Keys and certificates reloaded while there is no descriptor to read them with."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess

import pytest

from certificates import make_certificate
from mlrf.core.errors import ConfigError
from mlrf.serving.auth.keys import KeyRing, make_key, write_keys
from mlrf.serving.auth.tls import Tls
from mlrf.serving.auth.tls_files import TlsFiles


@contextlib.contextmanager
def no_descriptors():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_revoked_key_is_dropped_once_descriptors_are_free(tmp_path):
    text, key = make_key("me", ["predict"])
    write_keys(tmp_path / "keys", {key.id: key})
    ring = KeyRing(tmp_path / "keys")
    write_keys(tmp_path / "keys", {})
    with no_descriptors(), pytest.raises(ConfigError, match="cannot be read"):
        ring.refresh()
    assert (ring.scopes_of(text.encode()), ring.n_keys) == ({"predict"}, 1)
    assert ring.refresh()
    assert (ring.scopes_of(text.encode()), ring.n_keys) == (None, 0)
    assert not ring.refresh()


def test_keys_are_not_taken_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "keys")
    with pytest.raises(ConfigError, match=r"--keys: .* is not a file"):
        KeyRing(tmp_path / "keys")


def test_new_certificate_is_loaded_once_descriptors_are_free(tmp_path):
    tls = Tls(TlsFiles(*make_certificate(tmp_path, "first")))
    make_certificate(tmp_path, "first")
    with no_descriptors(), pytest.raises(ConfigError, match="cannot be used"):
        tls.refresh()
    assert tls.refresh()
    assert not tls.refresh()


def test_a_key_with_a_password_is_refused_in_words(tmp_path):
    cert, key = make_certificate(tmp_path, "first")
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    for wrong in (locked, cert):
        with pytest.raises(ConfigError, match=r"--tls-key: .* cannot be used: .* a key with a password"):
            Tls(TlsFiles(cert, wrong))


def test_invalid_files_are_reported_once(tmp_path):
    (tmp_path / "keys").touch()
    ring = KeyRing(tmp_path / "keys")
    (tmp_path / "keys").write_text("nonsense")
    with pytest.raises(ConfigError, match="line 1"):
        ring.refresh()
    assert not ring.refresh()
