"""Merges settings on SIGHUP: options that a worker reads at its start may change, those declared `fixed` may not."""

from __future__ import annotations

from mlrf.serving.config.settings import OPTIONS, ServeSettings
from mlrf.serving.option import build_settings, value_in


def merged(old: ServeSettings, new: ServeSettings) -> tuple[ServeSettings, list[str], list[str]]:
    """Return the settings in force from now on, the flags of those that changed, and of those that need a restart."""
    values: dict[tuple[str, ...], object] = {}
    changed: list[str] = []
    refused: list[str] = []
    for each in OPTIONS:
        before, after = value_in(old, each), value_in(new, each)
        values[each.path] = before if each.fixed else after
        if before != after:
            (refused if each.fixed else changed).append(each.flag)
    return build_settings(ServeSettings, values), changed, refused
