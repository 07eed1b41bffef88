"""Refuses requests of web pages on the admin port: a browser on this machine reaches it too.

A page of any site can send a POST there (cross-site request forgery); browsers mark it with Origin. A page whose own name was
made to resolve to the loopback interface (DNS rebinding) can also read the answers; its requests carry that name as Host.
"""

from __future__ import annotations

import ipaddress

from mlrf.core.errors import NotPermittedError
from mlrf.serving.auth.guard import Guard
from mlrf.serving.http.head import Head
from mlrf.serving.http.router import Wrap


class AdminGuard(Guard):
    """Admits calls by programs on this machine, and by key if the server has keys."""

    def admit(self, head: Head, route: int) -> Wrap | None:
        """As `Guard.admit`; NotPermittedError too for a request that a web page may have sent."""
        if head.origin is not None:
            raise NotPermittedError(
                "the admin port takes no requests of web pages (with an Origin header); send it from a program"
            )
        if not _is_this_machine(head.host or b""):
            raise NotPermittedError(
                "the admin port takes requests to localhost or an IP address only; send it to the address given by --admin"
            )
        return super().admit(head, route) if self.requires_keys else None


def _is_this_machine(host: bytes) -> bool:
    """Whether a Host header names no domain: a name other than localhost may belong to a web page's site."""
    name = host.decode("latin-1")
    name = name[1:].partition("]")[0] if name.startswith("[") else name.rpartition(":")[0] or name
    if name.lower() in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
