"""Lists what an image adds to its base: packages with versions, licences and sizes, from the image's bill of materials."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

MIB = 1 << 20
MOST_BYTES = 120_000_000
"""Greatest size that the image for trees adds to its base; docs/how-to/deploy.md lists its parts."""
_ABSENT_FILES = ("usr/bin/gcc", "usr/bin/c++", "opt/mlrf/bin/pip", "opt/sbom", "build")
_ABSENT_PACKAGES = {"pip", "setuptools", "lightgbm", "pyarrow", "onnx", "onnxruntime", "cyclonedx-bom"}
_WITHOUT_LICENCE = {"protobuf"}
"""Packages whose licence is no term that the tool knows; docs/reference/licences.md has it."""


def report_contents(files: Path, base: Path) -> None:
    """Print the contents of an image for trees, and check them: the size, the packages, the bill of materials."""
    added = bytes_of(files / "opt/mlrf")
    packages = dict(each.split("==") for each in (files / "opt/mlrf/packages.txt").read_text().split())
    components = json.loads((files / "opt/mlrf/sbom.cdx.json").read_text())["components"]
    print(f"base {bytes_of(base) / MIB:.0f} MiB, added {added / MIB:.1f} MiB, {len(packages)} packages:")
    sizes = _sizes(files)
    for each in sorted(components, key=lambda each: -sizes.get(_canonical(each["name"]), 0)):
        size = sizes.get(_canonical(each["name"]), 0)
        print(f"  {size / MIB:6.2f} MiB  {each['name']} {each['version']}  {_licence(each)}")
    assert {_canonical(each["name"]): each["version"] for each in components} == {
        _canonical(name): version for name, version in packages.items()
    }
    assert {each["name"] for each in components if not _licence(each)} <= _WITHOUT_LICENCE
    assert "mlrf" in packages
    assert not _ABSENT_PACKAGES & packages.keys(), packages
    for absent in _ABSENT_FILES:
        assert not (files / absent).exists(), absent
    assert added < MOST_BYTES, added


def bytes_of(path: Path) -> int:
    """The bytes of a folder on its file system, in blocks."""
    command = ["du", "-s", "--block-size=1", "-x", path]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[0])


def _sizes(files: Path) -> dict[str, int]:
    """The bytes of each package: the files that its installer recorded and the image still has."""
    found = {}
    [site] = (files / "opt/mlrf/lib").glob("python3*/site-packages")
    for record in site.glob("*.dist-info/RECORD"):
        name = _canonical(record.parent.name.partition("-")[0])
        paths = (
            site / line.rpartition(",")[0].rpartition(",")[0].strip('"') for line in record.read_text().split("\n")
        )
        found[name] = sum(path.lstat().st_size for path in paths if path.is_file())
    return found


def _licence(component: dict) -> str:
    entries = component.get("licenses", ())
    names = (each.get("expression") or each["license"].get("id") or each["license"].get("name") for each in entries)
    return " / ".join(dict.fromkeys(names))


def _canonical(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
