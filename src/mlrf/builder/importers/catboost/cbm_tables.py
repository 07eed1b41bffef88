"""Tables of a `.cbm` file, with vectors as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core import flatbuffers
from mlrf.core.errors import ModelUnreadableError


class Table(flatbuffers.Table):
    """One table of a `.cbm` file; ModelUnreadableError when what it points at lies outside."""

    __slots__ = ()

    @classmethod
    def damaged(cls, reason: str) -> Exception:
        """Return the error for a damaged file."""
        return ModelUnreadableError(f"the .cbm file is cut or damaged: {reason}; copy it again, byte for byte")

    def vector(self, field: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return a vector of numbers or of packed structs."""
        kind = np.dtype(dtype)
        return np.frombuffer(self.items(field, kind.itemsize), kind)
