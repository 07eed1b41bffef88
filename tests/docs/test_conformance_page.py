"""The table that `make conformance` writes: every call that differs says why, and few do."""

from __future__ import annotations

from documents import ROOT

PAGE = ROOT / "docs/reference/conformance.md"


def test_calls_that_differ_are_few_and_say_why():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")][1:]
    assert len(rows) >= 30
    differing = [row for row in rows if row[2] != "same"]
    assert len(differing) <= 5
    assert all(row[2] == "differs" and row[3].strip("| ") for row in differing)


def test_every_kind_of_client_is_there():
    text = PAGE.read_text(encoding="utf-8")
    for client in (
        "tritonclient",
        "grpc.aio",
        "kserve",
        "(v1)",
        "mlflow",
        "sagemaker",
        "mlserver",
        "google-cloud-aiplatform",
        "httpx",
        "requests",
        "duckdb",
        "polars",
    ):
        assert client in text
