"""How long work from stored rows may be shared or cached: until one of them changes or becomes too old."""

from __future__ import annotations

import msgspec

from mlrf.serving.lookup.stored_rows import FoundRow
from mlrf.serving.runtime.results import Deferred


def with_validity(work: Deferred, *found: FoundRow | None) -> Deferred:
    """Return work with the state of the stored rows that it uses, which decides whether other requests may share its result."""
    rows = [each for each in found if each is not None]
    if not rows:
        return work
    transaction, fresh_until_s = min(r.stored.transaction for r in rows), min(r.fresh_until_s for r in rows)
    return msgspec.structs.replace(work, transaction=transaction, fresh_until_s=fresh_until_s)
