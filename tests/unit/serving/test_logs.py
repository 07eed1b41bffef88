"""Lines of the log: one each, whatever they tell."""

from __future__ import annotations

import json
import os

from mlrf.serving.sight.logs import Log


def test_a_path_that_is_no_utf8_is_logged(tmp_path):
    reading, writing = os.pipe()
    Log(descriptor=writing).warning("pointer not read", reason=os.fsdecode(b"models/a\xff: gone\nnow"))
    os.close(writing)
    with os.fdopen(reading) as lines:
        (line,) = lines
    told = json.loads(line)
    assert (told["event"], told["reason"]) == ("pointer not read", "models/a\\udcff: gone\nnow")
