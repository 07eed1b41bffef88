"""Finds the estimator in the object given, and writes it as a skops file for the parity gate.

A skops file is read with skops' own loader, which runs no code of the file, and only when every type in it is one that a
fitted tree model of scikit-learn has.
"""

from __future__ import annotations

import copy
import io
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mlrf.builder.importers.sklearn.objective import Kind, read_kind
from mlrf.builder.model_source import ModelFile, Source, unfrozen
from mlrf.core.errors import BuildError, ModelUnreadableError, UnsupportedModelError

MAX_UNPACKED_BYTES = 8 << 30
_MAX_MEMBERS = 1_000_000
_SHOWN_TYPES = 3
_TRUSTED = (
    # The input check that histogram boosting stores next to its encoder; loading it calls nothing.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    # Also stored there by scikit-learn 1.6.
    "sklearn.compose._column_transformer._RemainderColsList",
)
_TRUSTED_MODULES = ("sklearn.tree.", "sklearn.ensemble.", "sklearn._loss.", "sklearn.dummy.", "_loss.Cy")
"""Modules whose types and functions tree models contain, in one version or another, besides what skops itself trusts."""
_LOSSES, _LOSSES_BEFORE_1_7 = "sklearn._loss._loss", "_loss"
"""The module of scikit-learn's losses, and its name in files written by older versions."""
_OTHERS = {
    "xgboost": "save_model('model.ubj')",
    "catboost": "save_model('model.cbm')",
}
"""Libraries whose wrappers skops can write, and each library's own file extension."""
_CLASS = re.compile(rb'\s*\{\s*"__class__":\s*"(\w{1,100})",\s*"__module__":\s*"([\w.]{1,200})"')
_FROZEN = re.compile(rb'\s*\{\s*"__class__":\s*"FrozenEstimator".{0,400}?"estimator":', re.DOTALL)
"""The schema of a FrozenEstimator, up to what it holds."""
_CLASS_BYTES = 4000
_OF_TRAINING = ("_scorer", "_raw_predict", "_rng", "_feature_subsample_rng", "oob_decision_function_", "oob_prediction_",
                "train_score_", "validation_score_", "oob_improvement_", "oob_scores_")  # fmt: skip


def is_archive(content: bytes) -> bool:
    """Whether a file is a ZIP archive with a schema, as skops files are."""
    return content.startswith(b"PK\x03\x04") and b"schema.json" in content


def skops_class(content: bytes) -> tuple[str, str] | None:
    """Return module and name of the class of a skops file's object, of what a FrozenEstimator holds; None for other files."""
    if not content.startswith(b"PK\x03\x04"):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open("schema.json") as schema:
            described = schema.read(_CLASS_BYTES)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError):
        return None
    begin = 0
    while (frozen := _FROZEN.match(described, begin)) is not None:
        begin = frozen.end()
    found = _CLASS.match(described, begin)
    return None if found is None else (found.group(2).decode(), found.group(1).decode())


def open_estimator(source: Source) -> tuple[Any, Kind, bytes]:
    """Return the estimator of an object or of a skops file, its kind, and its skops file."""
    if isinstance(source, ModelFile):
        saved = load_skops(source.content)
        estimator = unfrozen(saved)
        kind = read_kind(estimator)
        return estimator, kind, source.content if estimator is saved else dump_skops(estimator)
    estimator = source.value
    kind = read_kind(estimator)  # unsupported estimators are not written either
    return estimator, kind, dump_skops(estimator)


def load_skops(raw: bytes, *, also: tuple[str, ...] = ()) -> Any:
    """Return the object in a skops file; UnsupportedModelError names types in it that no tree model has.

    `also`: prefixes of the names of other trusted types.
    """
    skops = _skops()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
        if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
            raise ModelUnreadableError(f"the skops file unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another version of scikit-learn: the golden rows decide
            found = skops.get_untrusted_types(data=raw)
            if strange := sorted(
                name for name in found if name not in _TRUSTED and not name.startswith((*_TRUSTED_MODULES, *also))
            ):
                for other, saved in _OTHERS.items():
                    if foreign := [name for name in strange if name.startswith(f"{other}.")]:
                        raise UnsupportedModelError(
                            f"the skops file contains a model of {other} ({foreign[-1]}); load it with skops and save it in "
                            f"its own format: model.{saved}"
                        )
                shown = ", ".join(strange[:_SHOWN_TYPES]) + (" …" if len(strange) > _SHOWN_TYPES else "")
                raise UnsupportedModelError(
                    f"the skops file contains {shown}, which no tree model of scikit-learn has, and is not loaded; "
                    "dump the tree model alone",
                    types=strange[:20],
                )
            with _older_losses():
                return skops.loads(raw, trusted=sorted(found))
    except BuildError:
        raise
    except Exception as error:  # a damaged file may raise anything that its types raise
        wrote = _version_of(raw)
        said = (
            f"; scikit-learn {wrote} wrote it: load it there and export it to ONNX with skl2onnx, or train it again"
            if wrote
            else ""
        )
        raise ModelUnreadableError(f"the skops file cannot be read: {_line(error)}{said}") from error


def dump_skops(estimator: Any) -> bytes:
    """Return the skops file of a fitted estimator; UnsupportedModelError when it contains objects that skops cannot write."""
    skops = _skops()
    # skops cannot write a scorer, and nothing that only training uses is needed here.
    fitted = copy.copy(estimator)
    for name in _OF_TRAINING:
        vars(fitted).pop(name, None)
    try:
        return bytes(skops.dumps(fitted))
    except Exception as error:
        raise UnsupportedModelError(
            f"the {type(estimator).__name__} contains objects that skops cannot write: {_line(error)}; train it with plain "
            "parameters"
        ) from error


def _skops() -> Any:
    try:
        import skops.io  # noqa: PLC0415  needed for this library alone
    except ImportError as error:
        raise BuildError(
            f"a scikit-learn model needs skops and scikit-learn: pip install 'mlrf[sklearn]' ({error})"
        ) from error
    return skops.io


@contextmanager
def _older_losses() -> Iterator[None]:
    """Make the losses available under the name of versions before 1.7 while a file is read."""
    if _LOSSES_BEFORE_1_7 in sys.modules:
        yield
        return
    sys.modules[_LOSSES_BEFORE_1_7] = import_module(_LOSSES)
    try:
        yield
    finally:
        del sys.modules[_LOSSES_BEFORE_1_7]


def _version_of(raw: bytes) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive, archive.open("schema.json") as schema:
            found = re.search(
                rb'"_sklearn_version".{0,200}?"content": "\\"([\w.]+)\\""', schema.read(1 << 26), re.DOTALL
            )
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
    return found[1].decode() if found else None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
