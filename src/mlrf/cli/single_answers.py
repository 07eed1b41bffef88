"""Writes answers to standard output or to one file, for `mlrf predict` and `mlrf score --out -`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlrf.cli.scoring_progress import scoring_progress
from mlrf.core.errors import ConfigError
from mlrf.model.row_files import STANDARD


def write_single(bundle: Path, rows: Sequence[Path], out: Path, kind: str | None = None, **options: Any) -> None:
    """Score rows into a file in the format of its extension, or to standard output in the format `kind` (JSON lines)."""
    with require_scoring():
        from mlrf.scoring.formats import ENDINGS, STREAM_FORMATS  # noqa: PLC0415  with pyarrow, which a server may lack
        from mlrf.scoring.single_output import score_to  # noqa: PLC0415
        from mlrf.scoring.standard_input import copied_input  # noqa: PLC0415
    if out == STANDARD and kind not in (None, *STREAM_FORMATS):
        raise ConfigError(f"--format: it is one of {', '.join(STREAM_FORMATS)} on standard output, not {kind!r}")
    if out != STANDARD and out.suffix.lower() not in ENDINGS:
        found = out.suffix or "without an extension"
        raise ConfigError(f"--out: {out}: the file must end in {', '.join(ENDINGS)}, not {found}")
    if len(rows) > 1 and STANDARD in rows:
        raise ConfigError("-: standard input is scored alone; give no other input with it")
    with ExitStack() as stack:
        inputs: Any = rows
        if rows[0] == STANDARD:
            inputs = stack.enter_context(copied_input(sys.stdin.buffer))
        sink: Any = out
        if out == STANDARD:
            sink = getattr(sys.stdout, "buffer", None) or _TextOutput()
        is_shown = (
            out == STANDARD and sys.stdout.isatty()
        )  # the lines of a progress bar would stand between the answers
        show = None if is_shown else stack.enter_context(scoring_progress()).on_rows
        kind = kind or (ENDINGS[out.suffix.lower()] if out != STANDARD else "jsonl")
        score_to(sink, kind, bundle, inputs, on_rows=show, caller="command line", **options)  # type: ignore[arg-type]


@contextmanager
def require_scoring() -> Iterator[None]:
    """Raise ConfigError if the packages that scoring needs cannot be imported."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"scoring needs pyarrow: pip install 'mlrf[score]' ({error})") from error


class _TextOutput(io.RawIOBase):
    """Standard output where it has no bytes, as in a notebook."""

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, content: Any) -> int:
        """Write bytes as text."""
        sys.stdout.write(bytes(content).decode())
        return len(content)
