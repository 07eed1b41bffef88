"""Starts the process that converts complete files of the prediction log to Parquet, one at a time for a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.parquet_parts import complete_files


class ParquetConverter:
    """The conversions of one worker; used by the thread of its prediction log alone."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False

    def start(self) -> None:
        """Convert the files that are complete, if the last conversion has ended; a failure is logged and repeated later."""
        if not self._has_ended():
            return
        try:
            if complete_files(self._folder):
                self._process = self._spawn()
        except OSError as error:
            self._report(str(error))

    def finish(self, limit_s: float) -> None:
        """Convert what is complete, and wait for it within a time limit; later files are converted by the next server."""
        self.start()
        if self._process is not None:
            try:
                self._process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return
            self._has_ended()

    def _has_ended(self) -> bool:
        """Return whether no conversion runs, and log the end of one that failed."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            return False
        self._process = None
        said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
        if process.stderr is not None:
            process.stderr.close()
        if process.returncode:
            self._report((said.strip().splitlines() or [f"ended with status {process.returncode}"])[-1])
        else:
            self._failed = False
        return True

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The server's settings may contain secrets, which a conversion does not need.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLRF_")}
        return subprocess.Popen(
            [sys.executable, "-m", "mlrf.serving.telemetry.parquet_parts", str(self._folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    def _report(self, reason: str) -> None:
        """Log once that files stay JSON lines."""
        if not self._failed:
            self._failed = True
            self._log.warning("prediction log not converted", folder=str(self._folder), reason=reason)
