"""How long and how often a run measures, and where its models are."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contenders import BenchmarkError

_HERE = Path(__file__).parent
_MAKER = _HERE / "reference_models.py"
_PACKAGE = _HERE.parent / "src" / "mlrf"
_BUNDLE_MAKERS = ("builder", "core", "engines")
_MAKE_LIMIT_S = 600


@dataclass(frozen=True)
class Plan:
    """The amount of measuring in a run: `rounds` turns of `seconds` of load each."""

    models: Path
    rounds: int
    seconds: int
    starts: int

    def home(self, model: str) -> Path:
        """Return the folder of a model: its bundle, bodies, and expected answers."""
        return self.models / model

    def bundle(self, model: str) -> Path:
        """Return a model's bundle."""
        return self.models / model / "bundle"

    def bodies(self, model: str, kind: str) -> Path:
        """Return a file of request bodies, one a line."""
        return self.models / model / f"{kind}.jsonl"

    def say(self, sentence: str) -> None:
        """Report what is being measured."""
        print(f"  … {sentence}", file=sys.stderr, flush=True)


def make_models(results: Path) -> Path:
    """Train and build the models unless an earlier run of the same sources did; return their folder.

    BenchmarkError if they cannot be built.
    """
    models = results / f"models-{_digest_of_sources()}"
    if models.is_dir():
        return models
    print("training the models, once", file=sys.stderr, flush=True)
    for older in results.glob("models-*"):
        shutil.rmtree(older)
    unfinished = results / "models-unfinished"
    unfinished.mkdir(parents=True)
    made = subprocess.run([sys.executable, str(_MAKER), str(unfinished)], check=False, timeout=_MAKE_LIMIT_S)
    if made.returncode:
        raise BenchmarkError("the models could not be built")
    return unfinished.rename(models)


def _digest_of_sources() -> str:
    digest = hashlib.sha256(_MAKER.read_bytes())
    for package in _BUNDLE_MAKERS:
        for source in sorted((_PACKAGE / package).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
