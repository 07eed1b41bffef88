"""A loaded version of one model: opened, verified against golden rows, served, and finally released."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from mlrf import __version__
from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature
from mlrf.core.infinities import REFUSED, describe_infinities
from mlrf.engines.selection import open_engine
from mlrf.features.open_stores import open_explanations, open_store
from mlrf.features.row_format import row_format
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving import route_paths as paths
from mlrf.serving.arrow.handler import ArrowHandler, BatchHandler
from mlrf.serving.cache.answer_cache import AnswerCache
from mlrf.serving.cache.cache_namespace import CacheNamespace
from mlrf.serving.cache.cache_partition import CachePartition, CachePartitions
from mlrf.serving.config.settings import OPTIONS, ServeSettings
from mlrf.serving.lookup.stored_rows import AgeLimit, LookupMeter, StoredRows
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.predict_handler import PredictHandler
from mlrf.serving.native.response_builder import ResponseBuilder
from mlrf.serving.option import value_in
from mlrf.serving.platforms.model_routes import ModelRoutes
from mlrf.serving.routes import INVOCATIONS
from mlrf.serving.runtime.cost_model import CostModel, measure_costs
from mlrf.serving.runtime.results import Handler, OnFirstUse
from mlrf.serving.runtime.thresholds import DECODED_FEATURES
from mlrf.serving.telemetry.row_counters import RowCounters, row_counters
from mlrf.serving.telemetry.worker_meter import WorkerMeter

if TYPE_CHECKING:
    from mlrf.serving.oip.infer import ModelInference


class LoadedModel:
    """An open model and its handlers. Nothing else refers to it once its last request is answered."""

    def __init__(
        self,
        bundle: Bundle,
        settings: ServeSettings,
        meter: WorkerMeter,
        cache: AnswerCache | None = None,
        *,
        number: int = 1,
        prove: Callable[[RowPredictor], object] = lambda _model: None,
        costs: CostModel | None = None,
    ) -> None:
        """Open the model and its rows; BundleError, EngineError or ConfigError if one of them cannot be used.

        `prove` is called with the model before any request, and raises BundleError if it must not serve. `costs` are measured
        here if they were not measured before.
        """
        engine = open_engine(bundle, settings.engine)
        # The engine has opened its file, so the pinned descriptors are no longer needed.
        self.bundle = bundle = msgspec.structs.replace(bundle, pinned={})
        self.number = number
        self.model = RowPredictor(bundle, engine)
        prove(self.model)
        self.rows = _open_rows(bundle, settings, meter)
        key = None if self.rows is None else self.rows.format.key
        costs = costs or measure_costs(self.model)
        decoder = RowDecoder(self.model.schema, settings.leniency, settings.max_batch, key)
        counters = row_counters(meter, bundle)
        predict_handler = PredictHandler(self.model, decoder, *counters, costs, self.rows)
        self._partitions = None
        if cache is not None:
            counts = msgspec.structs.replace(
                cache.counts,
                hits=meter.counter("mlrf_cache_hits_total", bundle.name),
                misses=meter.counter("mlrf_cache_misses_total", bundle.name),
            )
            self._partitions = CachePartitions(
                cache, _cache_namespace(bundle, settings), _transaction(self.rows), counts
            )
        self.handlers: dict[str, Handler] = {
            paths.PREDICT: predict_handler.one,
            paths.PREDICT_BATCH: predict_handler.many,
            paths.EXPLAIN: predict_handler.explained,
            paths.CURVE: OnFirstUse(partial(_curve_handler, self.model, decoder, costs, self.rows)),
        }
        """The handlers of the native routes, by path."""
        if self._partitions is not None:
            for label, handler in self.handlers.items():
                self.handlers[label] = self._partitions.keep(handler, label)
        arrow = ArrowHandler(
            self.model,
            settings.leniency,
            settings.max_batch,
            ResponseBuilder(self.model, never_cached=False),
            costs,
            counters.count_instances,
        )
        self.batch = BatchHandler(self.handlers[paths.PREDICT_BATCH], arrow)
        """The handler of `/predict/batch`: JSON, and Arrow."""
        # Platforms send whole files, so the row limit of the inference protocol applies, and their answers have their own
        # cache.
        model, rows = self.model, self.rows

        def make_large() -> Handler:
            large = RowDecoder(model.schema, settings.leniency, settings.max_infer_rows, key)
            return PredictHandler(model, large, *counters, costs, rows).many

        is_wide = len(model.schema.features) > DECODED_FEATURES
        platform_batch: Handler = make_large() if is_wide else OnFirstUse(make_large)
        if self._partitions is not None:
            platform_batch = self._partitions.keep(platform_batch, INVOCATIONS)
        self.platforms: ModelRoutes = ModelRoutes(
            self.model.schema,
            settings.max_infer_rows,
            platform_batch,
            settings.platforms.platform,
            predicts_labels=bundle.manifest.predict_returns == "label",
        )
        """The handlers of other platforms' bodies."""
        partition = None if self._partitions is None else self._partitions.partition(paths.V2)
        make_inference = partial(_inference, model, settings, meter, counters, number, costs, rows, partition)
        inference = make_inference() if is_wide else None
        self.make_inference: Callable[[], ModelInference] = make_inference if inference is None else lambda: inference
        """Returns what answers the Open Inference Protocol, which is imported and made for the first request."""
        self._example = self.model.schema.row(self.model.schema.example())
        self._expected = _bits(self.model.engine.margin(self._example))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.bundle.name

    @property
    def version_names(self) -> tuple[str, ...]:
        """Names of the version in paths: its number, and its digest, short and whole."""
        return (str(self.number), self.bundle.short_version, self.bundle.version)

    def forget_answers(self) -> None:
        """Drop the cached responses of this version and cache no more."""
        if self._partitions is not None:
            self._partitions.close()

    def reproduces_example(self) -> bool:
        """Return whether the example row still gets the same answer as when the model was opened."""
        return _bits(self.model.engine.margin(self._example)) == self._expected

    def describe(self) -> dict[str, Any]:
        """Return its entry in `GET /models`."""
        manifest = self.bundle.manifest
        return {
            "name": self.name,
            "version": self.bundle.short_version,
            "digest": self.bundle.version,
            "task": manifest.task,
            "objective": manifest.objective,
            "classes": manifest.classes,
            "link": {"kind": manifest.link.kind, "scale": manifest.link.scale},
            "engine": self.model.engine.name,
            "features": [_feature(f) for f in self.bundle.schema.features],
            "example": self.model.schema.example(),
            "key": None if manifest.rows is None else {each.name: each.type for each in manifest.rows.key},
        }


def _curve_handler(model: RowPredictor, decoder: RowDecoder, costs: CostModel, rows: StoredRows | None) -> Handler:
    from mlrf.serving.native.curve_handler import CurveHandler  # noqa: PLC0415  most servers are asked for no curve

    return CurveHandler(model, decoder, costs, rows)


def _inference(
    model: RowPredictor,
    settings: ServeSettings,
    meter: WorkerMeter,
    counters: RowCounters,
    number: int,
    costs: CostModel,
    rows: StoredRows | None,
    partition: CachePartition | None,
) -> ModelInference:
    from mlrf.serving.oip.infer import ModelInference  # noqa: PLC0415  many servers are only asked in another form
    from mlrf.serving.oip.statistics import InferenceCounts  # noqa: PLC0415  as above
    from mlrf.serving.oip.tensor_reader import TensorReader  # noqa: PLC0415  as above

    key = None if rows is None else rows.format.key
    reader = TensorReader(model.schema, settings.leniency, settings.max_infer_rows, key, settings.max_batch)
    counts = InferenceCounts(meter, model.bundle.name, counters)
    return ModelInference(model, str(number), reader, counts, costs, rows, partition)


def _open_rows(bundle: Bundle, settings: ServeSettings, meter: WorkerMeter) -> StoredRows | None:
    rows, store = (
        row_format(bundle),
        open_store(bundle, settings.state_dir, settings.features, settings.features_timeout_s),
    )
    if rows is None or store is None:
        return None
    limit = AgeLimit(settings.max_feature_age_s, settings.stale_features)
    counts = LookupMeter(lambda family: meter.counter(family, bundle.name))
    explanations = open_explanations(bundle, settings.state_dir)
    return StoredRows(rows, store, limit, counts, explanations, are_logged=settings.telemetry.logs_features)


def _cache_namespace(bundle: Bundle, settings: ServeSettings) -> CacheNamespace:
    """Return the secret of shared cached answers, derived from the bundle and the options declared `changes_answers`.

    A server with other options, or another version of mlrf, whose responses may have other fields, finds none of the answers;
    and without the bundle none can be forged.
    """
    digests = sorted((name, entry.sha256) for name, entry in bundle.manifest.files.items())
    options = [(each.key, value_in(settings, each)) for each in OPTIONS if each.changes_answers]
    dependencies = repr((__version__, bundle.version, digests, *options))
    return CacheNamespace(bundle.version, hashlib.sha256(dependencies.encode()).digest())


def _transaction(rows: StoredRows | None) -> Callable[[], int] | None:
    """Return a function that returns the number of the rows' last transaction; None without rows or for a shared store."""
    return None if rows is None or rows.local is None else rows.local.transaction


def _bits(margins: Sequence[float]) -> tuple[float | str, ...]:
    return tuple("nan" if math.isnan(m) else m for m in margins)


def _feature(feature: Feature) -> dict[str, Any]:
    described: dict[str, Any] = {"name": feature.name, "kind": feature.kind.value, "nullable": feature.nullable}
    if feature.optional:
        described["default"] = feature.default
    if feature.categories is not None:
        described["categories"] = list(feature.categories)
    if feature.infinities != REFUSED:
        described["infinities"] = describe_infinities(feature.infinities)
    if feature.least > -math.inf:
        described["minimum"] = feature.least
    if feature.most < math.inf:
        described["maximum"] = feature.most
    if feature.hashing is not None:
        described["hashed"] = {"unnamed": len(feature.hashing.known), "any": feature.hashing.is_open}
    return described
