"""The sections of a LightGBM model file, and whether the file is complete.

A LightGBM file states the size of each tree in bytes (some of version v3 do not) and ends its sections with marker lines. A
file that was cut off, joined or edited breaks one of them, and is refused here, before any number is read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_VERSIONS = ("v2", "v3", "v4")
_FIRST_TREE = b"\nTree=0\n"
_END_OF_TREES = b"end of trees\n"
_AFTER_TREES_BELOW_2_2 = b"feature importances:\n"
_END_OF_PARAMETERS = "\nend of parameters\n"
_PARAMETERS = "\nparameters:"
_PANDAS = "pandas_categorical:"
_PARAMETER = re.compile(r"^\[(\w+): (.*)\]$", re.MULTILINE)

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class ModelText:
    """A model file by its sections; numbers are still text."""

    header: Fields
    trees: list[Fields]
    parameters: Fields
    pandas_categorical: list[list[Any]] | None
    """The categories of each pandas categorical column of the training frame, in column order."""


def split_text(raw: bytes) -> ModelText:
    """Split a model file into its sections; ModelUnreadableError if it is not a model, or incomplete."""
    if not raw.startswith(b"tree\n"):
        raise ModelUnreadableError(
            "this is not a LightGBM text model (its first line is not `tree`); save one with Booster.save_model"
        )
    start = raw.find(_FIRST_TREE)
    if start < 0:
        if b"\n" + _END_OF_TREES in raw:
            raise UnsupportedModelError(
                "the model has no trees; train it for at least one round, and check the num_iteration given to save_model"
            )
        raise ModelUnreadableError("the model file ends before its first tree; copy it again")
    header = _fields(_decode(raw[:start]), "the header")
    version = header.get("version", "")
    if version not in _VERSIONS:
        raise UnsupportedModelError(
            f"the model file has format version {version!r}; mlrf reads {', '.join(_VERSIONS)}", version=version
        )
    blocks, end = _tree_blocks(raw, start + 1, header)
    trees = [_fields(_decode(block), f"tree {i}") for i, block in enumerate(blocks)]
    parameters, pandas_categorical = _tail(_decode(raw[end:]))
    return ModelText(header, trees, parameters, pandas_categorical)


def _tree_blocks(raw: bytes, start: int, header: Fields) -> tuple[list[bytes], int]:
    if "tree_sizes" not in header:
        return _blocks_without_sizes(raw, start)
    try:
        sizes = [int(size) for size in header["tree_sizes"].split()]
    except ValueError as error:
        raise ModelUnreadableError(f"the model file's tree_sizes are not integers: {error}") from error
    blocks = []
    for index, size in enumerate(sizes):
        first_line = b"Tree=%d\n" % index
        block = raw[start : start + max(size, 0)]
        if not block.startswith(first_line) or len(block) != size or not block.endswith(b"\n\n"):
            raise ModelUnreadableError(
                f"the model file is cut off or was edited: tree {index} of {len(sizes)} is not the {size} bytes that "
                "tree_sizes states; copy it again, byte for byte"
            )
        blocks.append(block[len(first_line) :])
        start += size
    if raw[start:].lstrip(b"\n").startswith(_AFTER_TREES_BELOW_2_2):
        raise UnsupportedModelError(
            "the model file is from LightGBM 2.1 or older, whose files do not mark their end; load it with LightGBM 2.2 or "
            "later and save it again"
        )
    if not raw.startswith(_END_OF_TREES, start):
        raise ModelUnreadableError(
            f"the model file is cut off or was edited: `end of trees` does not follow its {len(sizes)} trees; copy it again"
        )
    return blocks, start + len(_END_OF_TREES)


def _blocks_without_sizes(raw: bytes, start: int) -> tuple[list[bytes], int]:
    """Split at the trees' own first lines, as LightGBM does with a file that does not state their sizes."""
    end = raw.find(b"\n" + _END_OF_TREES, start)
    if end < 0:
        raise ModelUnreadableError("the model file is cut off: `end of trees` does not follow its trees; copy it again")
    parts = raw[start : end + 1].split(b"Tree=")[1:]
    blocks = []
    for index, part in enumerate(parts):
        number, _, block = part.partition(b"\n")
        if number.strip() != b"%d" % index:
            raise ModelUnreadableError(
                f"the model file is cut off or was edited: tree {number.decode('ascii', 'replace')[:20]!r} follows tree "
                f"{index - 1}"
            )
        blocks.append(block)
    return blocks, end + 1 + len(_END_OF_TREES)


def _tail(text: str) -> tuple[Fields, list[list[Any]] | None]:
    # LightGBM always ends with the parameters; its Python package then adds one line. A file cut off exactly between the
    # two has the same bytes as a model of the C API or of R, and cannot be detected.
    end = text.find(_END_OF_PARAMETERS)
    if end >= 0:
        parameters = dict(_PARAMETER.findall(text[:end]))
        rest = text[end + len(_END_OF_PARAMETERS) :].strip("\n")
    elif _PARAMETERS not in text and (start := text.rfind("\n" + _PANDAS)) >= 0:
        # A model that LightGBM 2 read as text and saved again: it had no parameters, and Python's line is the end.
        parameters, rest = {}, text[start:].strip("\n")
    else:
        raise ModelUnreadableError("the model file is cut off: it ends before `end of parameters`; copy it again")
    if not rest:
        return parameters, None
    if not rest.startswith(_PANDAS):
        raise ModelUnreadableError(
            "the model file is cut off or was edited: only pandas_categorical may follow its parameters"
        )
    try:
        listed = json.loads(rest[len(_PANDAS) :])
    except (ValueError, RecursionError) as error:
        raise ModelUnreadableError(f"the model file is cut off: its pandas_categorical is not JSON: {error}") from error
    if listed is not None and not (isinstance(listed, list) and all(isinstance(item, list) for item in listed)):
        raise ModelUnreadableError("the model file's pandas_categorical is not a list of lists")
    return parameters, listed


def _fields(text: str, where: str) -> Fields:
    fields: Fields = {}
    for line in text.split("\n"):
        if not line:
            continue
        key, _, value = line.partition("=")
        if key in fields:
            raise ModelUnreadableError(f"the model file states {key!r} twice in {where}")
        fields[key] = value
    return fields


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelUnreadableError(f"the model file is not UTF-8 text: {error.reason} at byte {error.start}") from error
