"""Merges settings on SIGHUP: options that a worker reads at its start may change, those used before the fork may not."""

from __future__ import annotations

from mlrf.serving.config.settings import OPTIONS, ServeSettings
from mlrf.serving.option import build_settings, value_in

FIXED = frozenset(
    (
        "bundles",
        "find_bundle",
        "model_name",
        "allow_links",
        "build_at_start",
        "host",
        "port",
        "grpc_host",
        "grpc_port",
        "backlog",
        "workers",
        "admin",
        "engine",
        "on_bad_model",
        "require_signature",
        "store_poll",
        "store_timeout",
    )
)
"""Options, by key, that decide what the arbiter binds, reads and lays out before the first fork."""


def merged(old: ServeSettings, new: ServeSettings) -> tuple[ServeSettings, list[str], list[str]]:
    """Return the settings in force from now on, the flags of those that changed, and of those that need a restart."""
    values: dict[tuple[str, ...], object] = {}
    changed: list[str] = []
    refused: list[str] = []
    for each in OPTIONS:
        before, after = value_in(old, each), value_in(new, each)
        fixed = each.key in FIXED
        values[each.path] = before if fixed else after
        if before != after:
            (refused if fixed else changed).append(each.flag)
    return build_settings(ServeSettings, values), changed, refused
