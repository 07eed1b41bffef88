"""Row 13: 10,000 cached bodies, then another version, then the old one again."""

from __future__ import annotations

from collections import Counter

from raw_http import Client, request
from scoreboard import Finding, Row
from stage import Stage, staged

_BODIES, _AHEAD = 10_000, 50


def _answers_by_version(stage: Stage) -> Counter[str]:
    """Send every body once, on eight connections in turn, and count answers that differ from those of the version they name."""
    found: Counter[str] = Counter()
    for first in range(0, _BODIES, _AHEAD):
        with Client(stage.server.port) as client:
            part = range(first, first + _AHEAD)
            client.send(b"".join(request("POST", "/predict", stage.bodies[i]) for i in part))
            for i in part:
                answer = client.answer().json
                truth = stage.truth[answer["version"]][i]
                found[answer["version"] if answer["prediction"] == truth else "wrong"] += 1
    return found


def measure(planted: bool) -> Finding:
    """Warm the caches, switch, compare; with the fault, the second switch is not made."""
    with staged(n_bodies=_BODIES) as stage:
        old, new = stage.versions
        for _ in range(3):
            _answers_by_version(stage)
        assert stage.load(2)[0] == 200
        swapped = _answers_by_version(stage)
        if not planted:
            assert stage.load(1)[0] == 200
        rolled_back = _answers_by_version(stage)
    stale = _BODIES - swapped[new] + _BODIES - rolled_back[old]
    figure = (
        f"{stale} stale and {swapped['wrong'] + rolled_back['wrong']} wrong of {2 * _BODIES} after the acknowledgements"
    )
    return Finding(figure, stale == 0)


ROW = Row(
    13,
    "10,000 cached bodies, reload, roll back",
    "0 stale after the acknowledgement",
    "the rollback never happened",
    measure,
)
