"""A client of a registry of container images: one repository, over HTTP, with docker's credentials (`mlrf[oci]`).

1. Requests are made with the session of oras, and its tokens and credentials: those of `~/.docker/config.json`, or of the file
   that REGISTRY_AUTH_FILE (as for podman) or DOCKER_CONFIG names, and credential helpers.
2. A registry that asks for a token or a password is answered once per request. Credentials go to the registry and the
   servers of tokens that it names, never to where it sends a download or an upload.
3. What a registry can make long is limited: each wait, the length of what is read whole, and where redirects lead.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import msgspec
import oras.provider
import requests
import urllib3
from requests.adapters import HTTPAdapter

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address, artefact_reference, is_loopback, may_redirect

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MAX_ARTEFACT_BYTES = 4 << 20
"""Longest manifest of an artefact, as registries limit it."""
_CHUNK_BYTES = 1 << 20
_WHOLE_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_SHOWN = 300
_ABSENT = 404
_UNAUTHORIZED, _FORBIDDEN = 401, 403


class RegistryClient:
    """Requests to the repository that an `oci://` address names."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.reference = artefact_reference(address)
        registry: Any = oras.provider.Registry(insecure=is_loopback(address.host))
        registry.session.mount("http://", _LimitedAdapter(address, timeout_s))
        registry.session.mount("https://", _TrustingAdapter(address, timeout_s))
        self._session = registry.session
        self._auth = registry.auth
        self._root = f"{registry.prefix}://{address.host}"
        self._authorization = ""
        with self.errors():
            if (named := _named_credentials()) is not None:
                self._auth._auth_config = named  # noqa: SLF001  oras would mix them with those of the home directory
            # The host apart from the name: oras takes one without a dot for a folder of Docker Hub.
            container = oras.container.Container(self.reference.repository, registry=address.host)
            self._auth.load_configs(container)

    def manifest(self, *accepted: str) -> bytes | None:
        """Return the manifest of the artefact that the address names now; None if there is none."""
        headers = {"Accept": ", ".join(accepted or (OCI_MANIFEST,))}
        with self.errors(), self.request("GET", f"manifests/{self.reference.name}", headers, stream=True) as answer:
            if answer.status_code == _ABSENT:
                return None
            self.check(answer, requests.codes.ok)
            content = at_most(answer, MAX_ARTEFACT_BYTES)
        if self.reference.digest and digest_of(content) != self.reference.digest:
            raise RepositoryError(f"{self.address.text}: the registry sent an artefact with another digest")
        return content

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
        *,
        stream: bool = False,
    ) -> Any:
        """Return the answer to a request; `path` is relative to the repository, or a URL that the registry gave."""
        url = urljoin(f"{self._root}/v2/{self.reference.repository}/", path)
        answer = self._send(method, url, headers, body, stream=stream)
        if answer.status_code in (_UNAUTHORIZED, _FORBIDDEN) and self._authenticate(answer):
            answer.close()
            answer = self._send(method, url, headers, body, stream=stream)
        return answer

    def check(self, answer: Any, *accepted: int, name: str = "") -> Any:
        """Return an answer with one of these statuses; RepositoryError with the registry's reason for another one."""
        if answer.status_code in accepted:
            return answer
        where = f"{self.address.text}/{name}".rstrip("/")
        raise RepositoryError(f"{where}: the registry answered {answer.status_code}{self._reason(answer)}")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise RepositoryError for what requests, oras and hostile answers raise within."""
        try:
            yield
        except (FileNotFoundError, RepositoryError):
            raise
        except requests.ConnectionError as error:
            raise RepositoryError(
                f"{self.address.text}: the registry cannot be reached: {_first_cause(error)}"
            ) from error
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            KeyError,
            AttributeError,
        ) as error:
            raise RepositoryError(f"{self.address.text}: {type(error).__name__}: {error}") from error

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | BinaryIO | None, *, stream: bool
    ) -> Any:
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        sent = dict(headers or {})
        if self._authorization and url.startswith(f"{self._root}/"):
            sent["Authorization"] = self._authorization
        # A redirected upload would lose its body or send it twice; registries name the URL of an upload beforehand.
        is_reading = method in ("GET", "HEAD")
        return self._session.request(method, url, data=body, headers=sent, stream=stream, allow_redirects=is_reading)

    def _authenticate(self, answer: Any) -> bool:
        """Prepare what the registry asks for; return whether there is anything new to show."""
        challenge = answer.headers.get("Www-Authenticate", "")
        before = self._authorization
        if challenge.lower().startswith("basic"):
            secret = getattr(self._auth, "_basic_auth", None)
            self._authorization = f"Basic {secret}" if secret else ""
        elif challenge:
            # Of the scope that is needed now: a token for reading does not write.
            self._auth.token = None
            headers, is_changed = self._auth.authenticate_request(answer, {})
            self._authorization = headers["Authorization"] if is_changed else ""
        return bool(self._authorization) and self._authorization != before

    def _reason(self, answer: Any) -> str:
        """Return what the registry says about an error, and what to do, as the end of a sentence."""
        reason = ""
        try:
            errors = msgspec.json.decode(at_most(answer, _ERROR_BYTES), type=_Errors).errors
            reason = "; ".join(f"{each.code}: {each.message}" for each in errors)[:_SHOWN]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, RepositoryError):
            pass
        reason = f" ({reason})" if reason else ""
        if answer.status_code in (_UNAUTHORIZED, _FORBIDDEN):
            reason += f"; log in with `docker login {self.address.host}`, or check what the account there may do"
        return reason


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Credentials(msgspec.Struct, rename="camel"):
    auths: dict[str, dict[str, Any]] = {}
    creds_store: str | None = None
    cred_helpers: dict[str, str] = {}


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Error] = []


def _first_cause(error: BaseException) -> str:
    """Return what the first of the errors that led to this one says: requests and urllib3 wrap the system's."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def digest_of(content: bytes) -> str:
    """Return the digest of a content as registries write it: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def at_most(answer: Any, limit_bytes: int) -> bytes:
    """Return the content of a streamed answer; RepositoryError once it is longer."""
    content = bytearray()
    for chunk in answer.iter_content(min(_CHUNK_BYTES, limit_bytes + 1)):
        content += chunk
        if len(content) > limit_bytes:
            raise RepositoryError(f"{answer.url}: has more than {limit_bytes} bytes")
    return bytes(content)


def _named_credentials() -> dict[str, Any] | None:
    """Return the credentials in the file that a variable names (a container has no home directory); None if neither does."""
    if file := os.environ.get("REGISTRY_AUTH_FILE"):
        path = Path(file)
    elif folder := os.environ.get("DOCKER_CONFIG"):
        path = Path(folder, "config.json")
        if not path.exists():
            return None
    else:
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Credentials)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is not docker's JSON"
        raise RepositoryError(f"{path}, the file of credentials for registries: {problem}") from error
    return {"auths": found.auths, "credsStore": found.creds_store, "credHelpers": found.cred_helpers}


class _LimitedAdapter(HTTPAdapter):  # type: ignore[misc]  # requests is not looked into
    """Limits what oras and requests do not: the time of each wait, where redirects lead, the length of what is read whole."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        super().__init__()

    def send(self, request: Any, **options: Any) -> Any:
        if not may_redirect(self._address, request.url):
            raise requests.exceptions.InvalidURL(f"a redirect to {urlsplit(request.url).scheme} is refused")
        options["timeout"] = self._timeout_s
        answer = super().send(request, **options)
        # requests reads the body of a redirect, and of an answer with a token, to its end.
        if answer.is_redirect or not options.get("stream"):
            answer._content = at_most(answer, _WHOLE_BYTES)  # noqa: SLF001  as requests does it
        return answer


class _TrustingAdapter(_LimitedAdapter):
    """Trusts the authorities of the system or of SSL_CERT_FILE; requests by itself only a list of its own.

    Reading them takes some 25 ms, and each look for a new version makes a client: requests over http have none.
    """

    def init_poolmanager(self, *args: Any, **options: Any) -> Any:
        return super().init_poolmanager(*args, **options, ssl_context=ssl.create_default_context())
