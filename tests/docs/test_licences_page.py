"""The page of licences lists exactly the packages that are locked for the image, and for what may be added to it."""

from __future__ import annotations

import re

from documents import ROOT

LOCKS = [ROOT / f"src/mlrf/deploy/container/requirements{which}.txt" for which in ("", "-onnx", "-signing", "-stores")]
PAGE = (ROOT / "docs/reference/licences.md").read_text(encoding="utf-8")
ELSEWHERE = {"async-timeout", "colorama", "uvloop"}
"""Packages with a condition that does not hold on every machine."""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_each_locked_package_has_its_licence_on_the_page():
    text = "\n".join(each.read_text(encoding="utf-8") for each in LOCKS)
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE)
    locked = {(canonical(name), version) for name, version in found}  # several versions for several Pythons
    listed = {
        canonical(name): (version, licence)
        for name, version, licence in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
        if name not in ("Name", "---")
    }
    assert {name for name, _ in locked} - listed.keys() <= ELSEWHERE
    assert {(name, version) for name, (version, _) in listed.items()} <= locked
    assert not [name for name, (_, licence) in listed.items() if licence in ("UNKNOWN", "")]
