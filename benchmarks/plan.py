"""How long and how often a run measures, and where its models lie."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contenders import BenchmarkError

_MAKER = Path(__file__).with_name("reference_models.py")
_MAKE_LIMIT_S = 600


@dataclass(frozen=True)
class Plan:
    """The measure of a run: `rounds` turns of `seconds` of load each."""

    models: Path
    rounds: int
    seconds: int
    starts: int

    def home(self, model: str) -> Path:
        """Return the folder of a model: its bundle, bodies, and right answers."""
        return self.models / model

    def bundle(self, model: str) -> Path:
        """Return a model's bundle."""
        return self.models / model / "bundle"

    def bodies(self, model: str, kind: str) -> Path:
        """Return a file of request bodies, one a line."""
        return self.models / model / f"{kind}.jsonl"

    def say(self, sentence: str) -> None:
        """Tell what is measured now."""
        print(f"  … {sentence}", file=sys.stderr, flush=True)

    def make_models(self) -> None:
        """Train and build the models unless an earlier run did; BenchmarkError when that fails."""
        if self.models.is_dir():
            return
        self.say("training the models, once")
        unfinished = self.models.with_name(f"{self.models.name}.unfinished")
        subprocess.run(["rm", "-rf", str(unfinished)], check=True)
        unfinished.mkdir(parents=True)
        made = subprocess.run([sys.executable, str(_MAKER), str(unfinished)], check=False, timeout=_MAKE_LIMIT_S)
        if made.returncode:
            raise BenchmarkError("the models could not be made")
        unfinished.rename(self.models)
