"""What a client that OpenAPI Generator (the Java program) generated is answered; as generated_attrs.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from suite import arguments, done


def main(arguments):
    sys.path.insert(0, str(Path(arguments.package).parent))
    import mlrf_pydantic as package  # noqa: PLC0415

    named = package.SampleRequestByFeatures(
        features=package.SampleRequestByFeaturesFeatures(package.SampleFeatures.from_dict(arguments.instance)),
        explain=package.Explain(True),
    )
    by_features = package.SampleRequestByFeatures(features=package.SampleRequestByFeaturesFeatures(arguments.row))
    keyed = package.SampleRequestByKey(key=package.SampleKey.from_dict(arguments.key))
    with package.ApiClient(package.Configuration(f"http://{arguments.address}")) as client:
        assert package.ServerApi(client).get_readyz().status == "ready"
        predictions = package.PredictionsApi(client)
        for body, expected in (
            (named, arguments.predictions["instance"]),
            (by_features, arguments.predictions["instance"]),
            (keyed, arguments.predictions["key"]),
        ):
            answer = predictions.post_predict(package.SampleRequest(body))
            assert (answer.prediction, answer.model) == (expected, "sample"), answer
        explained = predictions.post_predict(package.SampleRequest(named)).explanation
        assert abs(explained.base + sum(explained.contributions.values()) - explained.margin) < 1e-9, explained
        batch = package.SampleBatchRequest(instances=[package.SampleRequest(by_features), package.SampleRequest(keyed)])
        expected = [arguments.predictions["instance"], arguments.predictions["key"]]
        assert predictions.post_predict_batch(batch).predictions == expected
        features = package.BinaryRequestFeatures(package.BinaryFeatures.from_dict(arguments.instance))
        assert predictions.post_models_binary_predict(package.BinaryRequest(features=features)).label == arguments.label
        tensor = package.InferInput(
            name="features",
            shape=[1, len(arguments.row)],
            datatype="FP64",
            data=[float(value) for value in arguments.row],
        )
        inferred = package.OpenInferenceProtocolApi(client).post_v2_models_name_infer(
            package.ServedModel.SAMPLE, package.InferRequest(inputs=[tensor])
        )
        assert [each.actual_instance for each in inferred.outputs[0].data] == [arguments.predictions["instance"]], (
            inferred
        )
        unknown = package.SampleRequestByKey(key=package.SampleKey.from_dict(arguments.key | {"sku": 8}))
        try:
            predictions.post_predict(package.SampleRequest(unknown))
        except package.ApiException as error:
            assert (error.status, json.loads(error.body)["code"]) == (404, "KEY_NOT_FOUND"), error
        else:
            raise AssertionError("a key without a row was answered")
    done()


if __name__ == "__main__":
    main(arguments())
