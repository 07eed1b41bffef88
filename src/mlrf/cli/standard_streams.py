"""Standard streams that the caller closed (`>&-`, `2>&-`): opened again, so that no other file gets their descriptors.

What is written to a closed standard error is discarded. A command that writes to a closed standard output fails, as those of
the system do; `mlrf serve`, which does not need it, discards that too.
"""

from __future__ import annotations

import os
import sys

_STREAMS = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
"""By descriptor: the name in `sys`, and how it is opened. Standard output is opened so that writing fails."""


def open_closed_streams() -> None:
    """Open the standard streams that Python found closed."""
    for descriptor, (name, mode, flags) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _open_null(descriptor, flags)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  until the end


def discard_closed_output() -> None:
    """Let what is written to a standard output that was closed be discarded, rather than fail."""
    if sys.__stdout__ is None:
        _open_null(1, os.O_WRONLY)


def _open_null(descriptor: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
