"""Field numbers of the tables in a `.cbm` file.

They are those of the schema in CatBoost's sources (libs/model/flatbuffers, model.fbs and features.fbs).
"""

from __future__ import annotations

from enum import IntEnum


class CoreField(IntEnum):
    """Fields of the whole model."""

    FORMAT, TREES, INFO, PARTS = 0, 1, 2, 3


class TreesField(IntEnum):
    """Fields of the trees of a model."""

    DIMENSION, SPLITS, SIZES, STARTS, CATEGORIES, FLOATS, ONE_HOT, CTR, VALUES, WEIGHTS, STEPS, LEAVES = range(12)
    TEXT, ESTIMATED, SCALE, BIAS, MULTI_BIAS, REPACKED, EMBEDDING = range(12, 19)


class FloatField(IntEnum):
    """Fields of a feature of numbers."""

    HAS_NANS, INDEX, FLAT, BORDERS, NAME, TREATMENT = range(6)


class CategoryField(IntEnum):
    """Fields of a feature of categories."""

    INDEX, FLAT, NAME = range(3)


class OneHotField(IntEnum):
    """Fields of the splits by single categories of a feature."""

    INDEX, VALUES = 0, 1


class CtrFeatureField(IntEnum):
    """Fields of a CTR feature and its borders."""

    CTR, BORDERS = 0, 1


class CtrField(IntEnum):
    """Fields of a CTR feature."""

    BASE, TARGET_BORDER, NUMERATOR, DENOMINATOR, SHIFT, SCALE = range(6)


class CtrBaseField(IntEnum):
    """Fields of the identity of a CTR table."""

    COMBINATION, TYPE, CLASSIFIER = range(3)


class CombinationField(IntEnum):
    """Fields of the combination of features on which a CTR feature is based."""

    CATEGORIES, FLOATS, ONE_HOT = range(3)


class CtrTableField(IntEnum):
    """Fields of a CTR table."""

    BASE, INDEX, COUNTS, DENOMINATOR, CLASSES = range(5)
