"""Row 36: outages of the stores that models are fetched from: files over HTTP, S3, a registry of images, MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from client_environment import MLFLOW
from faulty_proxy import FAULTS
from scoreboard import Bar, Finding, Row
from store_outages import POLL_S, STORES, Outage, drill
from store_servers import registry_program

_BAR_S = POLL_S + 2.0
_BRIEF_BAR_S = 20.0
_FAULT = """
from mlrf.stores.watch import StoreWatch
StoreWatch._pause_s = lambda self, failures, took_s: 60.0 if failures else self.pause_s
"""


def measure(planted: bool) -> Finding:
    """Every fault of every store whose server is installed here; with the fault, one of one."""
    if planted:
        return _finding(_seen(["https"], ["stopped"], _BAR_S + 5.0, _FAULT), _BAR_S)
    here = {"https": True, "s3": True, "oci": registry_program() is not None, "mlflow": MLFLOW.exists()}
    absent = [kind for kind in STORES if not here[kind]]
    found = _finding(_seen([kind for kind in STORES if here[kind]], FAULTS), _BAR_S)
    return Finding(f"{found.figure}; not installed: {absent or 'none'}", found.holds and not absent)


def brief(planted: bool) -> Finding:
    """Two faults of files over HTTP."""
    broken_by = _FAULT if planted else ""
    return _finding(_seen(["https"], ["stopped", "corrupt"], _BRIEF_BAR_S + 5.0, broken_by), _BRIEF_BAR_S)


def _seen(kinds: Sequence[str], faults: Sequence[str], limit_s: float = 60.0, broken_by: str = "") -> list[Outage]:
    found = []
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            found += drill(kind, faults, Path(folder), limit_s=limit_s, broken_by=broken_by)
    return found


def _finding(seen: Sequence[Outage], bar_s: float) -> Finding:
    latest = max(seen, key=lambda outage: outage.right_after_s)
    found = Finding.of(
        Bar("wrong answers", sum(len(each.wrong) for each in seen), 0),
        Bar("restarts", sum(len(each.restarts) for each in seen), 0),
        Bar("s to the new version after the outage", latest.right_after_s, bar_s),
    )
    answers = sum(each.answers for each in seen)
    return Finding(
        f"{len(seen)} outages, {answers} answers; {found.figure}, at {latest.store} {latest.fault}", found.holds
    )


ROW = Row(
    36,
    f"a store stopped, slow, trickling, refusing, corrupt, half-written under a server that polls each {POLL_S:g} s",
    "0 wrong answers, 0 restarts, right within a poll + 2 s of recovery",
    "a pause of a minute after a look that failed",
    measure,
    brief,
)
