"""Model files that are damaged at random: each is read, or refused in one line."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

from examples import examples
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.core.errors import BuildError


def damaged(draw: random.Random, whole: Sequence[bytes], head_bytes: int | None = None) -> bytes:
    """Return one of some contents, cut or with other bytes; every second one in its first `head_bytes` if they are given."""
    content = bytearray(draw.choice(whole))
    if draw.random() < 0.2:
        del content[draw.randrange(len(content)) :]
    for _ in range(draw.randint(1, 4)):
        if content:
            end = len(content) if head_bytes is None else draw.choice([len(content), min(len(content), head_bytes)])
            content[draw.randrange(end)] = draw.randrange(256)
    return bytes(content)


def check_damaged_models(path: Path, whole: Sequence[bytes], count: int, head_bytes: int | None = None) -> None:
    """Read `count` damaged models from a path (MLRF_MUTANTS, MLRF_SEED: others)."""
    draw = random.Random(int(os.environ.get("MLRF_SEED", "0")))
    for _ in range(int(os.environ.get("MLRF_MUTANTS", examples(count)))):
        path.write_bytes(damaged(draw, whole, head_bytes))
        try:
            model = import_model(path)
            if isinstance(model, ImportedModel):
                model.forest.validate()
        except BuildError as error:
            assert "\n" not in str(error)
