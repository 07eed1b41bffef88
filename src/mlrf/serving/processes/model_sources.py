"""Where the served models come from: bundles' directories, held in memory from the start, and model repositories."""

from __future__ import annotations

from mlrf.core.bundle import Bundle, read_bundle
from mlrf.core.repository import ModelDirectory, Version, model_directories
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.service import default_name
from mlrf.serving.processes.pinned_files import pin_model


class ModelSources:
    """What the command line names, read and checked; a repository stands for each of its models."""

    def __init__(self, settings: ServeSettings) -> None:
        """Read everything; BundleError when a bundle is not sound, ConfigError when names clash."""
        self.bundles: list[Bundle] = []
        self.model_directories: dict[str, ModelDirectory] = {}
        self.versions: dict[str, Version] = {}
        for path in settings.bundles:
            found = model_directories(path)
            if not found:
                bundle = read_bundle(path)
                self.bundles.append(bundle)
                self.versions[bundle.name] = Version(1, bundle.version)
            for model_directory in found:
                version = model_directory.pointer().version
                self.bundles.append(model_directory.read(version))
                self.model_directories[model_directory.name], self.versions[model_directory.name] = (
                    model_directory,
                    version,
                )
        default_name(self.bundles, settings.default)
        # What stands in a repository never changes, and a worker checks it for itself; a directory may be built anew.
        self.bundles = [b if b.name in self.model_directories else pin_model(b, settings.engine) for b in self.bundles]
