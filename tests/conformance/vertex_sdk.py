"""The local endpoint of the Vertex AI SDK. What would start its container is left out: the server runs already, on its port."""

from __future__ import annotations

import json
from importlib.metadata import version

from google.cloud.aiplatform.prediction import LocalEndpoint
from reporting import given, report

GIVEN = given()
NAME = f"google-cloud-aiplatform {version('google-cloud-aiplatform')} (LocalEndpoint)"
JSON = {"Content-Type": "application/json"}

endpoint = LocalEndpoint("no-image", host_port=GIVEN.vertex_address.partition(":")[2])
endpoint.container_is_running = True


def predictions(instances, headers=None):
    answer = endpoint.predict(request=json.dumps({"instances": instances}), headers=headers)
    answer.raise_for_status()
    return answer.json()["predictions"]


report(NAME, "run_health_check", 200, lambda: endpoint.run_health_check().status_code)
report(NAME, "predict, instances by position", GIVEN.predictions, lambda: predictions(GIVEN.rows, JSON))
report(NAME, "predict, instances by name", GIVEN.predictions, lambda: predictions(GIVEN.records))
