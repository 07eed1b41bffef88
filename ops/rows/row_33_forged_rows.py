"""Row 33: rows that are forged or damaged, in Redis and in LMDB."""

from __future__ import annotations

from forged_rows import NO_CHECK, ask_for_forged
from scoreboard import Finding, Row


def measure(planted: bool) -> Finding:
    """Request rows with every kind of damage over every interface; with the fault, their values are not checked."""
    found = {kind: ask_for_forged(kind, broken_by=NO_CHECK if planted else "") for kind in ("redis", "lmdb")}
    wrong = [f"{kind}: {each}" for kind, finding in found.items() for each in finding.wrong]
    n_requests = sum(finding.n_requests for finding in found.values())
    return Finding(
        f"{n_requests} requests for invalid rows; not refused by name: {len(wrong)} {wrong[:3] or ''}", not wrong
    )


ROW = Row(
    33,
    "rows forged or damaged in Redis and in LMDB (as-of times, values outside the schema, other lengths, schemas and types), "
    "requested by REST, gRPC and in batches",
    "503 INVALID_STORED_ROW from each, logged and counted; a push repairs it; other rows are answered",
    "values read from the store are not checked",
    measure,
    measure,
)
