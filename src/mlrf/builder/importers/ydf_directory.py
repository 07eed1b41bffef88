"""YDF and TF-DF model directories: finds their files and joins them to the content of one model file.

A model is several files of one folder: `data_spec.pb`, `header.pb`, a header of its kind and shards of nodes. Their names may
share a prefix, and a TF-DF SavedModel has them in `assets`. They are joined as a ZIP archive without compression and times, so
that the same model gives the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from mlrf.core.errors import ModelUnreadableError

DATA_SPEC, HEADER = "data_spec.pb", "header.pb"
KIND_HEADERS = ("gradient_boosted_trees_header.pb", "random_forest_header.pb")
_PARTS = re.compile(rf"{DATA_SPEC}|{HEADER}|[a-z_]+_header\.pb|nodes-\d{{5}}-of-\d{{5}}|done")
_MAX_FILES = 10_000
_MAX_BYTES = 4 << 30


def ydf_files(directory: Path) -> dict[str, Path] | None:
    """Return the files of the model in a directory, by their names without prefix; None if it holds no YDF model."""
    for folder in (directory, directory / "assets"):
        specs = sorted(folder.glob(f"*{DATA_SPEC}")) if folder.is_dir() else []
        for spec in specs:
            prefix = spec.name.removesuffix(DATA_SPEC)
            files = {
                path.name.removeprefix(prefix): path
                for path in folder.iterdir()
                if path.name.startswith(prefix) and _PARTS.fullmatch(path.name.removeprefix(prefix))
            }
            if HEADER in files:
                return files
    return None


def join_files(files: dict[str, Path]) -> bytes:
    """Return a model's files as one; ModelUnreadableError if there are too many, or too large ones."""
    if len(files) > _MAX_FILES or sum(path.stat().st_size for path in files.values()) > _MAX_BYTES:
        raise ModelUnreadableError(f"the YDF model has more than {_MAX_FILES} files or {_MAX_BYTES >> 30} GiB")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        # The first name is what the joined file is recognised by.
        for name in sorted(files, key=lambda each: (each != DATA_SPEC, each)):
            archive.writestr(zipfile.ZipInfo(name), files[name].read_bytes())
    return buffer.getvalue()


def is_joined(content: bytes) -> bool:
    """Whether content is that of `join_files`."""
    return content.startswith(b"PK\x03\x04") and content[30 : 30 + len(DATA_SPEC)] == DATA_SPEC.encode()


def split_files(content: bytes) -> dict[str, bytes]:
    """Return the files of joined content by name; ModelUnreadableError if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            sound = all(_PARTS.fullmatch(name) for name in names) and len(set(names)) == len(names)
            if not sound or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ModelUnreadableError("the YDF model is damaged: it has a file that does not belong to a model")
            return {name: archive.read(name) for name in names}
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
        raise ModelUnreadableError(f"the YDF model is damaged: {error}") from error
