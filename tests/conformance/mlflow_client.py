"""MLflow's scoring client."""

from __future__ import annotations

import mlflow
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from reporting import given, report

GIVEN = given()
HOST, _, PORT = GIVEN.mlflow_address.partition(":")
CLIENT = ScoringServerClient(HOST, int(PORT))
NAME = f"mlflow {mlflow.__version__} (scoring client)"


def predictions(data):
    return CLIENT.invoke(data).get_predictions().iloc[:, 0].tolist()


report(NAME, "ping", None, CLIENT.ping)
report(NAME, "wait_server_ready", None, lambda: CLIENT.wait_server_ready(timeout=10))
report(NAME, "invoke, a data frame", GIVEN.predictions, lambda: predictions(pd.DataFrame(GIVEN.records)))
report(NAME, "get_version", GIVEN.version, CLIENT.get_version)
