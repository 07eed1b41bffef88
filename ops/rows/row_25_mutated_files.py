"""Row 25: mutated model files, forest files, Parquet and bundles, and links in bundles."""

from __future__ import annotations

from row_of_tests import row_of_tests

_UNCHECKED = """
from mlrf.core import bundle_files
bundle_files._check_file = lambda *arguments, **options: None
"""

ROW = row_of_tests(
    25,
    "10,000 mutated model files of every library, mutated forest files and Parquet, damaged bundles, links",
    "refused, or read in a process that cannot harm a server; nothing outside the bundle is read",
    "sizes, digests and kinds of a bundle's files are not checked",
    tests=(
        "tests/parity/test_random_models.py::test_no_damaged_file_crashes_hangs_or_surprises",
        "tests/unit/kernel/test_kernel.py::test_unsound_files_are_bundle_errors",
        "tests/unit/features/test_mutated_parquet.py",
        "tests/unit/core/test_golden_bin.py",
        "tests/unit/core/test_bundle.py",
        "tests/unit/cli/test_damaged_bundles.py",
    ),
    broken_by=_UNCHECKED,
)
