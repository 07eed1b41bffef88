"""Repositories and bundles that a web server serves as files, read with the standard library.

A web server lists no folders, so a repository needs `index.json` at its root, which `mlrf publish` keeps:
`{"models": ["sales", "returns"]}`. A single model or bundle does not need it.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import msgspec

from mlrf import __version__
from mlrf.core.errors import RepositoryError
from mlrf.core.manifest import NAME_PATTERN
from mlrf.core.repository import INDEX, Index
from mlrf.stores.address import Address, may_redirect
from mlrf.stores.interface import Content

_CHUNK_BYTES = 1 << 20
_INDEX_BYTES = 1 << 20
_ABSENT = (404, 410)


class _ProtectedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only, or within the same http server on this machine."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def redirect_request(
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        if not may_redirect(self._address, newurl):
            raise urllib.error.URLError(f"a redirect to {urllib.parse.urlsplit(newurl).scheme} is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class HttpsStore:
    """The files below a URL."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._base = f"{address.scheme}://{address.host}/{urllib.parse.quote(address.path)}".rstrip("/")
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_ProtectedRedirects(address))

    @property
    def resolved(self) -> str:
        """The address: URLs have no aliases."""
        return self._address.text

    def read(self, name: str, limit_bytes: int) -> Content:
        """Return the content of a file; the headers by which caches know it are its token."""
        with self._answer(name) as found:
            content = found.read(limit_bytes + 1)
            headers = found.headers
        if len(content) > limit_bytes:
            raise RepositoryError(f"{self._base}/{name}: has more than {limit_bytes} bytes")
        return Content(content, f"{headers.get('ETag')} {headers.get('Last-Modified')} {content!r}")

    def download(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write a file's content to an open file."""
        with self._answer(name) as found:
            left = size_bytes
            while chunk := found.read(min(_CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                file.write(chunk)
        if left:
            raise RepositoryError(f"{self._base}/{name}: does not have the {size_bytes} bytes that the manifest says")

    def folders(self, below: str = "") -> list[str]:
        """Return the models that `index.json` lists; none without it, and none below a model."""
        if below:
            return []
        try:
            raw = self.read(INDEX, _INDEX_BYTES).body
            names = msgspec.json.decode(raw, type=Index).models
        except FileNotFoundError:
            return []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RepositoryError(f"{self._base}/{INDEX}: is not a list of models: {error}") from error
        return [each for each in names if NAME_PATTERN.fullmatch(each)]

    @contextmanager
    def _answer(self, name: str) -> Iterator[http.client.HTTPResponse]:
        url = f"{self._base}/{urllib.parse.quote(name)}"
        headers = {"User-Agent": f"mlrf/{__version__}", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
        try:
            with self._opener.open(urllib.request.Request(url, headers=headers), timeout=self._timeout_s) as found:  # noqa: S310
                yield found
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _ABSENT:
                raise FileNotFoundError(url) from error
            raise RepositoryError(f"{url}: the store answered {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, FileNotFoundError):
                raise
            reason = getattr(error, "reason", None) or error
            raise RepositoryError(f"{url}: {type(error).__name__}: {reason}") from error
