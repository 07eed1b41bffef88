"""The options of the gRPC listener: port and address. Sizes and timeouts: `limits.py`, which takes most from HTTP."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.serving.option import Group, between, option

EXTRA = 'pip install "mlrf[grpc]"'


class GrpcSettings(msgspec.Struct, frozen=True):
    """Options of the gRPC listener."""

    grpc_port: int | None = option(
        None,
        "port for gRPC; 0 for any free one (default: no gRPC)",
        group=Group.LISTENING,
        fixed=True,
        kind=int,
        check=between(0, 65535),
    )
    grpc_host: str | None = option(
        None, "address to listen on for gRPC (default: the one of --host)", group=Group.LISTENING, fixed=True, kind=str
    )

    def check(self) -> None:
        """Check the options against each other and against installed packages; ConfigError names what is wrong."""
        if self.grpc_port is None:
            if self.grpc_host is not None:
                raise ConfigError("--grpc-host: it needs --grpc-port, which is not given", option="--grpc-host")
            return
        missing = [name for name in ("hpack", "google.protobuf") if not _is_installed(name)]
        if missing:
            raise ConfigError(f"--grpc-port: {' and '.join(missing)} cannot be imported; {EXTRA}", option="--grpc-port")


def _is_installed(name: str) -> bool:
    """Whether a module is installed, without importing it."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
