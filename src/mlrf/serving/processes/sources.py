"""Where the served models come from: bundles' directories, held in memory from the start, and model repositories."""

from __future__ import annotations

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.repository import Shelf, Version, shelves
from mlrf.serving.processes.hold import hold_model
from mlrf.serving.service import default_name
from mlrf.serving.settings import ServeSettings


class Sources:
    """What the command line names, read and checked; a repository stands for each of its models."""

    def __init__(self, settings: ServeSettings) -> None:
        """Read everything; BundleError when a bundle is not sound, ConfigError when names clash."""
        self.bundles: list[Bundle] = []
        self.shelves: dict[str, Shelf] = {}
        self.versions: dict[str, Version] = {}
        for path in settings.bundles:
            found = shelves(path)
            if not found:
                bundle = read_bundle(path)
                self.bundles.append(bundle)
                self.versions[bundle.name] = Version(1, bundle.version)
            for shelf in found:
                version = shelf.pointer().version
                self.bundles.append(shelf.read(version))
                self.shelves[shelf.name], self.versions[shelf.name] = shelf, version
        default_name(self.bundles, settings.default)
        # What stands in a repository never changes, and a worker checks it for itself; a directory may be built anew.
        self.bundles = [b if b.name in self.shelves else hold_model(b, settings.engine) for b in self.bundles]
