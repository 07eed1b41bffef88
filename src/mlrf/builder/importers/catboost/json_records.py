"""The records of CatBoost's JSON format, as msgspec decodes them."""

from __future__ import annotations

from typing import Any

import msgspec


class SplitRecord(msgspec.Struct):
    """A split of a tree."""

    split_type: str
    border: float = 0.0
    value: int = 0
    float_feature_index: int | None = None
    cat_feature_index: int | None = None
    split_index: int = -1


class ElementRecord(msgspec.Struct):
    """An element of the combination of features that a CTR feature is made of."""

    combination_element: str
    cat_feature_index: int = -1
    float_feature_index: int = -1
    border: float = 0.0
    value: int = 0


class CtrRecord(msgspec.Struct):
    """A CTR feature; `identifier` is the JSON text of a TableIdRecord."""

    identifier: str
    borders: list[float]
    prior_numerator: float
    prior_denomerator: float  # CatBoost's own spelling
    shift: float
    scale: float
    target_border_idx: int


class CtrTableRecord(msgspec.Struct):
    """The counts behind CTR features: a list of keys as decimals, each before its counts."""

    hash_map: list[str | float]
    hash_stride: int
    counter_denominator: int = 0


class TableIdRecord(msgspec.Struct):
    """The identity of a CTR table."""

    identifier: list[ElementRecord]
    type: str


class ObliviousTreeRecord(msgspec.Struct):
    """A tree with one split for each level."""

    leaf_values: list[msgspec.Raw]
    leaf_weights: list[float] = []
    splits: list[SplitRecord] | None = None


class NodeRecord(msgspec.Struct):
    """A node of a tree with a split for each node."""

    split: SplitRecord | None = None
    left: NodeRecord | None = None
    right: NodeRecord | None = None
    value: msgspec.Raw = msgspec.Raw()
    weight: float = 0.0


class FeatureRecord(msgspec.Struct):
    """A feature of numbers or categories."""

    flat_feature_index: int
    feature_index: int
    feature_id: str = ""
    has_nans: bool = False
    nan_value_treatment: str = ""
    borders: list[float] = []
    values: list[int] = []


class FeaturesRecord(msgspec.Struct):
    """All features of a model."""

    float_features: list[FeatureRecord] = []
    categorical_features: list[FeatureRecord] = []
    text_features: list[Any] = []
    embedding_features: list[Any] = []
    ctrs: list[CtrRecord] = []


class ModelRecord(msgspec.Struct):
    """A whole file."""

    features_info: FeaturesRecord
    oblivious_trees: list[ObliviousTreeRecord] | None = None
    trees: list[NodeRecord] | None = None
    scale_and_bias: tuple[msgspec.Raw, msgspec.Raw] | None = None
    model_info: dict[str, Any] = {}
    ctr_data: dict[str, CtrTableRecord] | None = None
