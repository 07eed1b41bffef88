"""ONNX Runtime without its telemetry: everything imports it from here.

Official builds send events to Microsoft, and keep a device identifier and a database in `~/.cache/Microsoft`, from the import
on. `ORT_DISABLE_TELEMETRY` is read once, before that; who has set it keeps the value.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
