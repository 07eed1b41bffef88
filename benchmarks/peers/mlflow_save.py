"""Saves LightGBM's model for `mlflow models serve`. The signature lets MLflow's server read rows with missing values.

python benchmarks/peers/mlflow_save.py MODEL_FILE FOLDER
"""

import sys

import lightgbm
import mlflow.lightgbm
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

booster = lightgbm.Booster(model_file=sys.argv[1])
inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, booster.num_feature()))])
mlflow.lightgbm.save_model(booster, sys.argv[2], signature=ModelSignature(inputs=inputs), pip_requirements=["lightgbm"])
