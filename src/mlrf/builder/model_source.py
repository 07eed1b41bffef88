"""Resolves a caller's model, given as a path or an object, to the bytes of a file or an object of a library.

Paths are followed to the model file itself (an MLflow directory names it). Pickles run code when they are read,
so they are read only with explicit permission.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrf.builder.compressed_files import decompressed
from mlrf.builder.foreign_files import foreign_directory
from mlrf.builder.importers.mlflow_directory import model_file_of
from mlrf.builder.importers.ydf_directory import join_files, ydf_files
from mlrf.builder.memory import require_memory
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

MAX_MODEL_BYTES = 4 << 30
_LZ4 = b"\x04\x22M\x18"
"""The magic number of LZ4, which is not decompressed here: joblib compresses pickles with it, so such a model is mostly a
pickle."""
_TEXT = re.compile(r"tree\r?\n|\s*\{")
"""Prefixes of model text that may be given instead of a path: LightGBM's, or JSON."""
_MAX_PATH_CHARS = 4096
_OLD_PICKLE = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n[(pq]")
"""The start of a pickle of an object in protocols 0 and 1, which have no header: module, name, and an operation on them."""
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as bytes."""

    path: Path
    content: bytes


@dataclass(frozen=True, slots=True)
class ModelObject:
    """A model as an object of its library, which is therefore already imported."""

    value: Any

    def is_of(self, package: str) -> bool:
        """Whether the object's class, or one that it inherits from, is the package's."""
        return any(kind.__module__.partition(".")[0] == package for kind in type(self.value).__mro__)


Source = ModelFile | ModelObject


def open_source(model: Any, *, allow_pickle: bool = False) -> Source:
    """Return the source of `model`; ModelUnreadableError if a path does not lead to a model.

    UnsupportedModelError for a pickle without `allow_pickle`: reading one runs any code in it.
    """
    if not isinstance(model, str | os.PathLike):
        return ModelObject(model)
    if isinstance(model, str) and _TEXT.match(model):
        return ModelFile(Path("(the text given)"), model.encode())
    path = Path(model)
    if len(str(path)) > _MAX_PATH_CHARS:
        raise ModelUnreadableError(
            f"the model is neither a path nor the text of a model: it begins with {str(path)[:40]!r}"
        )
    try:
        if path.is_dir() and (files := ydf_files(path)) is not None:
            return ModelFile(path, join_files(files))
        path = _file_of(path)
        content = _read(path)
    except (OSError, ValueError) as error:
        raise ModelUnreadableError(f"the model file {path} cannot be read: {error}") from error
    if not content:
        raise ModelUnreadableError(f"the model file {path} is empty; save the model again")
    plain = decompressed(path, content)
    if not plain:
        raise ModelUnreadableError(f"the model file {path} is empty; save the model again")
    if _is_pickle(plain) or content.startswith(_LZ4):
        return ModelObject(_unpickle(path, content, allow_pickle=allow_pickle))
    return ModelFile(path, plain)


def _file_of(path: Path) -> Path:
    """Return the model file of an MLflow directory; a path to a file unchanged."""
    if not path.is_dir():
        return path
    if (foreign := foreign_directory(path)) is not None:
        raise UnsupportedModelError(f"{path} is {foreign}")
    return model_file_of(path)


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ModelUnreadableError(f"the model file {path} does not exist") from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelUnreadableError(f"the model file {path} is not a regular file")
    if found.st_size > MAX_MODEL_BYTES:
        raise ModelUnreadableError(f"the model file {path} is larger than {MAX_MODEL_BYTES >> 30} GiB")
    # The bytes, and what is parsed from them, which takes at least as much.
    require_memory(2 * found.st_size, f"reading the model file {path}")
    return path.read_bytes()


def _is_pickle(content: bytes) -> bool:
    if _OLD_PICKLE.match(content[:512]):
        return True
    return content[0] == pickle.PROTO[0] and len(content) > 1 and content[1] <= pickle.HIGHEST_PROTOCOL


def _unpickle(path: Path, content: bytes, *, allow_pickle: bool) -> Any:
    if not allow_pickle:
        what = "a pickle"
        if content.startswith(_LZ4):
            what = "compressed with LZ4, as joblib compresses pickles (if it is not a pickle, decompress it first)"
        raise UnsupportedModelError(
            f"the model file {path} is {what}, and reading a pickle runs any code in it; save the model in its "
            "library's own format (or with skops), or, if you trust whoever made the file, allow it with --allow-pickle",
            path=str(path),
        )
    try:
        import joblib  # noqa: PLC0415  comes with scikit-learn; plain pickles need none of it
    except ImportError:
        joblib = None
    try:
        if joblib is not None:
            return joblib.load(io.BytesIO(content))
        return pickle.loads(content)  # noqa: S301  requested by name
    except Exception as error:  # a pickle may raise anything
        reason = " ".join(str(error).split())[:_SHOWN_CHARS]  # errors of other packages may have several lines
        raise ModelUnreadableError(
            f"the pickle {path} cannot be read here: {type(error).__name__}: {reason}; install the packages that it was made "
            "with, or load it where it was made and save it in a portable format (its library's own; of scikit-learn ONNX, "
            "with skl2onnx)"
        ) from error
