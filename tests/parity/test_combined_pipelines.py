"""Combinations whose members are pipelines: one forest over the raw columns, with scikit-learn's answers."""

from __future__ import annotations

from importlib import import_module

import category_encoders
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import mlrf
import skops_files
from library_answers import rows_of
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.exports import run_trees
from mlrf.core.errors import UnsupportedModelError
from pipelines import frame, target

pytestmark = pytest.mark.filterwarnings("ignore")  # of category_encoders, and of categories that a fold does not know

RAW = frame(11, n=240)[["price", "size", "visits", "city", "grade"]].assign(id=[f"r{i}" for i in range(240)])
RAW.loc[0, "city"] = "Lima"  # only one fold is trained on it
NUMBER = target(frame(11, n=240), 11)
TWO = (np.median(NUMBER) < NUMBER).astype(int)


def member(model, encoder=None):
    numbers = (StandardScaler(), make_column_selector(pattern="price|size|visits"))
    return make_pipeline(
        make_column_transformer(numbers, (encoder or OneHotEncoder(handle_unknown="ignore"), ["city"])), model
    )


def light(kind=lightgbm.LGBMClassifier):
    return kind(n_estimators=4, num_leaves=5, min_child_samples=5, verbosity=-1, n_jobs=1)


CASES = {
    "folds that know different categories": (
        CalibratedClassifierCV(member(light()), cv=StratifiedKFold(2)),
        TWO,
        ["price", "size", "visits", "city"],
    ),
    "different steps, in a pipeline": (
        make_pipeline(
            make_column_transformer(("passthrough", ["price", "visits", "city", "grade"])).set_output(
                transform="pandas"
            ),
            ensemble.VotingRegressor(
                [
                    ("a", make_pipeline(make_column_transformer((MinMaxScaler(), [0, 1])), light(lightgbm.LGBMRegressor))),
                    ("b", make_pipeline(make_column_transformer((OrdinalEncoder(), [2, 3])), xgboost.XGBRegressor(n_estimators=4))),
                ]
            ),
        ),
        NUMBER,
        ["price", "visits", "city", "grade"],
    ),
    "a stack of a calibrated pipeline": (
        ensemble.StackingClassifier(
            [
                ("calibrated", CalibratedClassifierCV(member(light()), cv=2)),
                ("tree", member(make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_depth=3)))),
            ],
            cv=2,
        ),
        TWO,
        ["price", "size", "visits", "city"],
    ),
    "category_encoders, a function of the target": (
        TransformedTargetRegressor(
            member(light(lightgbm.LGBMRegressor), category_encoders.OrdinalEncoder()), func=np.log1p, inverse_func=np.expm1
        ),
        NUMBER - NUMBER.min(),
        ["price", "size", "visits", "city"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_members_may_be_pipelines(case, tmp_path):
    estimator, answers, features = CASES[case]
    model = import_model(estimator.fit(RAW, answers))
    assert [feature.name for feature in model.features] == features
    rows = rows_of(model, 300)
    (tmp_path / "model").write_bytes(model.source)
    reference = import_module(model.answers).answer
    margins, predictions, _ = reference(tmp_path / "model", rows, rows, dict(model.settings), 1)
    outputs = run_trees(encode_forest(model.forest), rows, np.arange(1)).margins
    np.testing.assert_array_equal(model.library_margins(outputs), margins)
    linked = [model.link.vector()(row) for row in model.margins(outputs).tolist()]
    np.testing.assert_allclose(linked, predictions, rtol=1e-12)


@pytest.mark.slow
def test_a_category_that_one_fold_knows_is_answered_as_scikit_learn_answers_it(tmp_path):
    estimator = CASES["folds that know different categories"][0].fit(RAW, TWO)
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    sent = RAW.drop(columns=["id", "grade"]).head(60)
    np.testing.assert_array_equal(model.predict(sent), estimator.predict_proba(RAW.head(60))[:, 1])
    unknown = sent.assign(city="Paris")
    own = estimator.predict_proba(RAW.head(60).assign(city="Paris"))[:, 1]
    np.testing.assert_array_equal(model.predict(unknown, unknown_categories="missing"), own)


def test_an_encoder_that_refuses_the_categories_of_another_member_is_named():
    strict = ensemble.VotingRegressor(
        [(name, member(light(lightgbm.LGBMRegressor), OneHotEncoder())) for name in ("a", "b")]
    ).fit(RAW, NUMBER)
    strict.estimators_[1] = member(light(lightgbm.LGBMRegressor), OneHotEncoder()).fit(RAW[1:], NUMBER[1:])
    with pytest.raises(UnsupportedModelError, match=r"know different categories of 'city'.*handle_unknown='ignore'"):
        import_model(strict)


def test_skops_file_of_combined_pipelines_is_read(tmp_path):
    estimator = ensemble.VotingClassifier([("a", member(light()))], voting="soft").fit(RAW, TWO)
    estimator.estimators = [("a", "fitted")]  # skops would store the copy that was never fitted, too
    (tmp_path / "model.skops").write_bytes(skops_files.dumps(estimator))
    assert import_model(tmp_path / "model.skops").forest.n_nodes == import_model(estimator).forest.n_nodes
