"""Row 14: versions that are damaged, incomplete or of another kind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from bundles import NUMBERS, entry_of, write_bundle, write_manifest
from mlrf.core.repository import POINTER
from scoreboard import Finding, Row
from stage import staged


def _changed(name: str, change: Callable[[bytearray], object], *, listed: bool = False) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / name
        content = bytearray(file.read_bytes())
        change(content)
        file.chmod(0o644)
        file.write_bytes(content)
        if listed:
            _relist(folder, name)

    return damage


def _relist(folder: Path, name: str) -> None:
    """Write the digest that a file has now into the manifest."""
    document = json.loads((folder / "manifest.json").read_text())
    entry = entry_of(folder / name)
    document["files"][name] = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
    (folder / "manifest.json").chmod(0o644)
    write_manifest(folder, document)


def _flip(content: bytearray) -> None:
    content[len(content) // 2] ^= 1


def _rebuilt(**other: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        write_bundle(folder, **other)  # type: ignore[arg-type]

    return damage


def _other_forest(folder: Path) -> None:
    (folder / "forest.bin").unlink()
    shutil.copy(folder.parent / "1/forest.bin", folder / "forest.bin")
    _relist(folder, "forest.bin")


def _linked(folder: Path) -> None:
    (folder / "forest.bin").rename(folder.parent / "elsewhere")
    (folder / "forest.bin").symlink_to(folder.parent / "elsewhere")


DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"a flipped bit of {name}": _changed(name, _flip) for name in ("forest.bin", "golden.bin", "schema.json")},
    "a shorter file": _changed("forest.bin", lambda content: content.pop()),
    "another version's forest with its digest": _other_forest,
    "golden rows that fail": _changed(
        "golden.bin", lambda content: content.__setitem__(-2, content[-2] ^ 1), listed=True
    ),
    "an extra file": lambda folder: (folder / "more").write_text(""),
    "a missing file": lambda folder: (folder / "model.onnx").unlink(),
    "a link": _linked,
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "another schema": _rebuilt(schema=NUMBERS),
    "another model": _rebuilt(name="another"),
    "another task": _rebuilt(task="binary", classes=["no", "yes"]),
    "an engine's file that is junk": _rebuilt(model=b"none"),
}


def measure(planted: bool) -> Finding:
    """Load each; with the fault, one of them is valid."""
    taken = []
    with staged() as stage:
        model_directory = stage.repository / "sample"
        pristine = stage.repository.parent / "pristine"
        shutil.copytree(model_directory / "2", pristine)
        shutil.copytree(model_directory / "2", model_directory / "3")
        damages = {**DAMAGES, **({"nothing at all": lambda _folder: None} if planted else {})}
        for what, damage in damages.items():
            shutil.rmtree(model_directory / "3")
            shutil.copytree(pristine, model_directory / "3")
            damage(model_directory / "3")
            manifest = model_directory / "3/manifest.json"
            digest = hashlib.sha256(manifest.read_bytes() if manifest.exists() else b"").hexdigest()
            work = model_directory / "pointer"
            work.write_text(json.dumps({"number": 3, "digest": digest, "before": [1]}))
            work.rename(model_directory / POINTER)
            status, _ = stage.load()
            served = {stage.server.ask("POST", "/predict", stage.bodies[0]).json["version"] for _ in range(8)}
            if status != 409 or served != {stage.versions[0]}:
                taken.append(what)
    figure = f"{len(damages) - len(taken)} of {len(damages)} refused while the old one serves; loaded: {taken}"
    return Finding(figure, not taken)


ROW = Row(
    14,
    "versions that are altered, incomplete or of another kind",
    "refused; the old one keeps serving",
    "one that is valid",
    measure,
)
