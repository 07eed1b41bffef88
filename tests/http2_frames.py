"""Frames that tests send to an HTTP/2 server in this process, and the frame that answers them."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from raw_http2 import END_HEADERS, GOAWAY, HEADERS, SETTINGS, frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PRIORITY, PUSH_PROMISE = 2, 5
PADDED, HAS_PRIORITY = 8, 32
HELLO = PREFACE + frame(SETTINGS, 0, 0)
BLOCK = b"\x83\x86\x84\x41\x01a"
"""POST, http, `/`, and an authority that the table keeps."""
PROTOCOL, FLOW_CONTROL, SETTINGS_TIMEOUT, CLOSED, SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 4, 5, 6, 7, 9, 11
LIMIT_S = 120.0


def word(number):
    return struct.pack(">I", number)


def setting(name, value):
    return frame(SETTINGS, 0, 0, struct.pack(">HI", name, value))


def opened(stream=1, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, BLOCK)


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S)


def answered(server, content, until):
    """Send bytes; return the first frame received for which `until` holds, as (kind, flags, stream, payload)."""
    with connected(server) as client:
        # A server that has refused the first bytes may be gone before the last are sent; its frames can be read all the same.
        with suppress(ConnectionError):
            client.sendall(content)
        buffer = b""
        while True:
            try:
                more = client.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not more:
                return None
            buffer += more
            while len(buffer) >= 9 and len(buffer) >= (end := 9 + int.from_bytes(buffer[:3], "big")):
                found = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big"), buffer[9:end]
                buffer = buffer[end:]
                if until(*found):
                    return found


def code_of(server, content, kind, stream=0):
    found = answered(server, content, lambda each, _flags, number, _payload: each == kind and number == stream)
    assert found is not None, "closed without a word"
    return int.from_bytes(found[3][4:8] if kind == GOAWAY else found[3][:4], "big")
