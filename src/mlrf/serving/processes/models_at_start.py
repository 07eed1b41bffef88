"""Reads and checks the models that a server starts with, and replays their golden rows, before any socket listens.

1. A bundle directory that is named on the command line is pinned in memory and must pass; otherwise the server does not start.
2. Of a repository every model is served. A model whose current version does not pass falls back to the newest earlier version
   that does; if there is none, its requests get 503 until a valid version is published.
3. With `--on-bad-model exit` a model as in (2) prevents the start too. A server without any model does not start either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from mlrf import _kernel  # noqa: F401  loaded once, before the fork, for this process and the child that replays
from mlrf.core.bundle import Bundle, Check, describe_bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.repository import ModelDirectory, Version, model_directories
from mlrf.engines.selection import check_engine, check_package
from mlrf.model.replay_process import replay_in_child
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.models.default_model import default_name
from mlrf.serving.models.refused_version import RefusedVersion
from mlrf.serving.processes.pinned_files import check_filled, fill_pinned, pin_model, release_golden_rows
from mlrf.serving.processes.signature_check import check_keys, check_signature
from mlrf.serving.processes.single_bundle import begin_single_bundle
from mlrf.serving.runtime.cost_model import CostModel, measure_costs


class _Candidate(NamedTuple):
    """A version of a model whose files passed all checks."""

    version: Version
    bundle: Bundle


class ModelsAtStart:
    """The models named on the command line, checked."""

    def __init__(
        self,
        settings: ServeSettings,
        built: Mapping[Path, Path] = MappingProxyType({}),
        while_replaying: Callable[[], None] | None = None,
    ) -> None:
        """Read and replay all models; raises BundleError for a damaged model without fallback, ConfigError for equal names.

        `built`: bundles that stand for the model files in the settings. `while_replaying` is called once, while a child process
        replays the models.
        """
        check_keys(settings.require_signature)
        self._settings = settings
        self._while_replaying = while_replaying
        self._checks: dict[Path, Check] = {}
        """By path, the checks of the files of single bundles, which the child process makes."""
        self.bundles: list[Bundle] = []
        self.model_directories: dict[str, ModelDirectory] = {}
        self.versions: dict[str, Version] = {}
        """The models that are served."""
        self.unavailable: dict[str, Version] = {}
        """For models without a version that can be served, the one that the pointer names."""
        self.refused: dict[str, RefusedVersion] = {}
        """By model, the version that its pointer names, if another one or none is served."""
        self.costs: dict[str, CostModel] = {}
        """By version, the cost model that was measured after its replay."""
        order: list[str] = []
        single_bundles: list[tuple[int, str, Bundle]] = []
        for given in settings.bundles:
            path = built.get(given, given)
            found = model_directories(path)
            names = [each.name for each in found]
            if found and settings.model_name is not None:
                raise ConfigError(
                    f"--model-name: {path} is a repository, whose models have names of their own; name a bundle",
                    option="--model-name",
                )
            if not found:
                bundle, self._checks[bundle.path] = begin_single_bundle(path, settings)
                check_engine(bundle, settings.engine)
                check_package(bundle, settings.engine)
                single_bundles.append((len(order), given.name, bundle))
                names = [bundle.name]
            self.model_directories |= {each.name: each for each in found}
            order += names
        named = _name_versions(order, single_bundles)
        default_name(order, settings.default)
        chosen = self._choose({bundle.name: pin_model(bundle, settings.engine) for bundle in named})
        self.bundles = [chosen[name] for name in order]

    def _choose(self, single_bundles: dict[str, Bundle]) -> dict[str, Bundle]:
        """Return a bundle for each model: the one to serve, or, if no version can be served, what could be read of one."""
        chosen: dict[str, Bundle] = {}
        trials = {
            name: iter([_Candidate(Version(1, bundle.version), bundle)]) for name, bundle in single_bundles.items()
        }
        trials |= {name: self._candidates(directory) for name, directory in self.model_directories.items()}
        while trials:
            tried = {name: found for name, trial in trials.items() if (found := next(trial, None)) is not None}
            for name in trials.keys() - tried.keys():
                chosen[name] = self._unavailable(name)
            meanwhile, self._while_replaying = self._while_replaying, None
            bundles = [each.bundle for each in tried.values()]
            limit_s = self._settings.reload_timeout_s
            replayed = replay_in_child(bundles, self._settings.engine, limit_s, meanwhile, _measured, self._prepare)
            failures = {name: each.reason for name, each in replayed.items() if each.reason}
            for name, (version, bundle) in tried.items():
                if name in failures:
                    self._refuse(name, version, failures[name])
                else:
                    check_filled(bundle)
                    chosen[name] = release_golden_rows(bundle)
                    self.versions[name] = version
                    self.costs[version.digest] = CostModel(*replayed[name].measured)
                    if name in self.refused:
                        self.refused[name] = msgspec.structs.replace(self.refused[name], serving=version)
            trials = {name: trials[name] for name in tried.keys() & failures.keys()}
        if not self.versions:
            raise BundleError(next(iter(self.refused.values())).reason)
        return chosen

    def _prepare(self, bundle: Bundle) -> None:
        """Check the files of a single bundle and pin them; those of a repository were checked when they were read."""
        if bundle.pinned:
            fill_pinned(bundle, self._checks[bundle.path])

    def _candidates(self, directory: ModelDirectory) -> Iterator[_Candidate]:
        """Yield the current version and then all earlier ones that can be read, the newest first."""
        try:
            current = directory.pointer().version
        except BundleError as error:
            # The current version is unknown: serve none rather than a wrong one.
            self._refuse(directory.name, Version(0, ""), str(error))
            return
        yield from self._readable(directory, current)
        for number in reversed([each for each in directory.numbers() if each < current.number]):
            with suppress(BundleError):
                yield from self._readable(directory, directory.version(number))

    def _readable(self, directory: ModelDirectory, version: Version) -> Sequence[_Candidate]:
        try:
            bundle = directory.read(version)
            check_signature(bundle, self._settings.require_signature)
            check_engine(bundle, self._settings.engine)
            return [_Candidate(version, bundle)]
        except BundleError as error:
            self._refuse(directory.name, version, str(error))
            return []

    def _refuse(self, name: str, version: Version, reason: str) -> None:
        """Record a version that failed its checks; raises BundleError if no fallback is allowed."""
        if name not in self.model_directories or self._settings.on_bad_model == "exit":
            raise BundleError(reason)
        self.refused.setdefault(name, RefusedVersion(version, reason))

    def _unavailable(self, name: str) -> Bundle:
        """Return what can be read of a model that has no version that can be served."""
        directory, refused = self.model_directories[name], self.refused[name].version
        self.unavailable[name] = refused
        return describe_bundle(directory.path / str(refused.number), name, refused.digest)


def _measured(model: RowPredictor) -> Sequence[object]:
    return msgspec.structs.astuple(measure_costs(model))


def _name_versions(order: list[str], single_bundles: Sequence[tuple[int, str, Bundle]]) -> list[Bundle]:
    """Return the bundles under the names that they are served by, after changing `order` alike.

    `single_bundles` are the index in `order`, what the command line calls it, and the bundle. NAME@VERSION is served under
    that name if another version of NAME is served as well.
    """
    counts = Counter(order)
    named = []
    for index, given, bundle in single_bundles:
        if counts[order[index]] > 1 and given.startswith(f"{order[index]}@"):
            order[index] = given
            named.append(msgspec.structs.replace(bundle, served_name=given))
        else:
            named.append(bundle)
    return named
