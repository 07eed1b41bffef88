"""A client that sends exactly the given bytes, and reads answers one by one."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_LIMIT_S = 120.0


@dataclass(frozen=True)
class Answer:
    """One answer, with its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, refusing the NaN that Python would let pass."""
        return json.loads(self.body, parse_constant=_no_constant)

    @property
    def code(self) -> str | None:
        """The error's code, None for an answer that is not an error."""
        return None if self.status < 400 else self.json["code"]


def request(
    method: str, path: str, body: bytes | object = b"", headers: Sequence[str] = (), version: str = "1.1"
) -> bytes:
    """The bytes of a request; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {line.partition(":")[0].lower() for line in headers}
    lines = [f"{method} {path} HTTP/{version}"]
    if "host" not in names:
        lines.append("Host: localhost")
    if not {"content-length", "transfer-encoding"} & names and (content or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


def chunked(body: bytes, sizes: Sequence[int]) -> bytes:
    """A body in chunks of these sizes, the rest in a last one."""
    parts, position = [], 0
    for size in (*sizes, len(body)):
        if part := body[position : position + size]:
            parts.append(b"%x\r\n%b\r\n" % (len(part), part))
        position += size
    return b"".join(parts) + b"0\r\n\r\n"


class Client:
    """One connection. Every wait ends after some seconds, with TimeoutError."""

    def __init__(self, address: int | Path, *, receive_bytes: int | None = None) -> None:
        """Connect to a port of this machine, or to a Unix socket."""
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
        self.socket.settimeout(_LIMIT_S)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.socket.connect(str(address) if isinstance(address, Path) else ("127.0.0.1", address))
        except OSError:
            self.socket.close()
            raise
        if not isinstance(address, Path):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def ask(self, method: str, path: str, body: bytes | object = b"", headers: Sequence[str] = ()) -> Answer:
        """Send one request and read its answer."""
        self.send(request(method, path, body, headers))
        return self.answer(to_head=method == "HEAD")

    def answer(self, *, to_head: bool = False) -> Answer:
        """Read one answer; EOFError when the connection ends first."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        first, *lines = self._taken(self._buffer.index(b"\r\n\r\n") + 4)[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            self._receive()
        return Answer(int(first.split()[1]), headers, self._taken(length))

    def rest(self) -> bytes:
        """Everything until the server closes; TimeoutError when it does not."""
        try:
            while True:
                self._receive()
        except (EOFError, ConnectionResetError):
            return self._taken(len(self._buffer))

    def is_closed(self) -> bool:
        """Whether the server ends the connection without another byte."""
        return self.rest() == b""

    def _taken(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def _receive(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"the server closed after {bytes(self._buffer[:200])!r}")
        self._buffer += data


def _no_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")
