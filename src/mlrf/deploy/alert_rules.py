"""Inserts the alert rules of `monitoring/alerts.yml` into the manifests that contain them too."""

from __future__ import annotations

from mlrf.deploy.templates import ROOT

_FILE = ROOT / "monitoring/alerts.yml"
_KEY = "groups:\n"


def alert_groups(indent: int) -> str:
    """Return the groups of the alert rules as lines of a YAML list, indented by `indent` spaces."""
    groups = _FILE.read_text("utf-8").partition(_KEY)[2]
    return "".join(f"\n{' ' * (indent - 2)}{line}" if line else "\n" for line in groups.rstrip().splitlines())
