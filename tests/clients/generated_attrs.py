"""What a client that openapi-python-client generated is answered; `package` in the document is where it was generated.

Also `instance`: the row by name; `key`: of a stored row; `predictions`: {"instance", "key"}; `label`: of the model `binary`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from suite import arguments, done


def main(arguments):
    sys.path.insert(0, str(Path(arguments.package).parent))
    from mlrf_attrs import Client, models  # noqa: PLC0415
    from mlrf_attrs.api.open_inference_protocol import post_v2_models_name_infer  # noqa: PLC0415
    from mlrf_attrs.api.predictions import (  # noqa: PLC0415
        post_models_binary_predict,
        post_predict,
        post_predict_batch,
    )
    from mlrf_attrs.api.server import get_readyz  # noqa: PLC0415

    with Client(f"http://{arguments.address}", raise_on_unexpected_status=True) as client:
        assert get_readyz.sync(client=client).status == "ready"
        named = models.SampleRequestByFeatures(models.SampleFeatures.from_dict(arguments.instance))
        by_features = models.SampleRequestByFeatures(arguments.row)
        keyed = models.SampleRequestByKey(models.SampleKey.from_dict(arguments.key))
        for body, expected in (
            (named, arguments.predictions["instance"]),
            (by_features, arguments.predictions["instance"]),
            (keyed, arguments.predictions["key"]),
        ):
            answer = post_predict.sync(client=client, body=body)
            assert (answer.prediction, answer.model) == (expected, "sample"), answer
        named.explain = True
        explained = post_predict.sync(client=client, body=named).explanation
        total = explained.base + sum(explained.contributions.additional_properties.values())
        assert abs(total - explained.margin) < 1e-9, explained
        batch = models.SampleBatchRequest([by_features, keyed])
        expected = [arguments.predictions["instance"], arguments.predictions["key"]]
        assert post_predict_batch.sync(client=client, body=batch).predictions == expected
        body = models.BinaryRequest(models.BinaryFeatures.from_dict(arguments.instance))
        assert post_models_binary_predict.sync(client=client, body=body).label.value == arguments.label
        tensor = models.InferInput(
            "features", [1, len(arguments.row)], models.Datatype.FP64, data=[float(value) for value in arguments.row]
        )
        request = models.InferRequest([tensor])
        inferred = post_v2_models_name_infer.sync(models.ServedModel.SAMPLE, client=client, body=request)
        assert inferred.outputs[0].data == [arguments.predictions["instance"]], inferred
        refused = post_predict.sync(client=client, body=models.SampleRequestByFeatures(arguments.row[:-1]))
        assert refused.code == "FEATURE_COUNT", refused
    done()


if __name__ == "__main__":
    main(arguments())
