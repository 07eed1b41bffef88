"""The envelope of a signature: DSSE in a Sigstore bundle (JSON, media type version 0.3), with exactly one signature.

The signed bytes are the payload and its type (DSSE's pre-authentication encoding), so a payload of one type
cannot pass as another.
Formats: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, https://docs.sigstore.dev/about/bundle/.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec

from mlrf.core.errors import BundleError
from mlrf.signing.key_pairs import PrivateKey, PublicKey

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SHOWN_DIGITS = 12


class _KeyHint(msgspec.Struct, frozen=True):
    hint: str = ""


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: _KeyHint = _KeyHint()
    tlog_entries: list[msgspec.Raw] = []
    """Empty: a key pair has no transparency log."""


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _SigstoreBundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


def seal(payload: bytes, key: PrivateKey) -> bytes:
    """Return the envelope of a payload, signed."""
    signature = _Signature(base64.b64encode(key.sign(_encoded(payload))).decode())
    envelope = _Envelope(base64.b64encode(payload).decode(), _PAYLOAD_TYPE, [signature])
    bundle = _SigstoreBundle(_MEDIA_TYPE, _Material(_KeyHint(key.id)), envelope)
    return msgspec.json.format(msgspec.json.encode(bundle), indent=2) + b"\n"


def open_envelope(raw: bytes, keys: Sequence[PublicKey]) -> tuple[bytes, PublicKey]:
    """Return the payload of an envelope and the one of `keys` that signed it; BundleError if none did."""
    try:
        envelope = msgspec.json.decode(raw, type=_SigstoreBundle)
        payload, content = envelope.dsse_envelope, base64.b64decode(envelope.dsse_envelope.payload, validate=True)
        signatures = [base64.b64decode(each.sig, validate=True) for each in payload.signatures]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError) as error:
        raise BundleError(f"is not a signature file: {error}; sign the bundle again") from error
    if envelope.media_type != _MEDIA_TYPE or payload.payload_type != _PAYLOAD_TYPE or len(signatures) != 1:
        raise BundleError(
            f"is not one signature in a Sigstore bundle of version 0.3 ({envelope.media_type}, {payload.payload_type}, "
            f"{len(signatures)} signatures); sign the bundle again"
        )
    for key in keys:
        if key.verifies(signatures[0], _encoded(content)):
            return content, key
    trusted = ", ".join(key.id[:_SHOWN_DIGITS] for key in keys)
    hint = envelope.verification_material.public_key.hint
    if any(key.id == hint for key in keys):
        raise BundleError(f"was altered: the signature of key {hint[:_SHOWN_DIGITS]} does not match it")
    raise BundleError(f"is signed with another key ({hint[:_SHOWN_DIGITS] or 'not named'}) than {trusted}")


def _encoded(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
