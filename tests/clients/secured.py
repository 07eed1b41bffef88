"""What unmodified clients of Triton need to say where certificates and keys are wanted, as suite.py: also `ca`, `cert`, `key` (files),
`api_key`, and `address` over REST next to `grpc_address`.
"""

from __future__ import annotations

import gevent.ssl
import tritonclient.grpc as grpc_client
import tritonclient.grpc.auth as grpc_auth
import tritonclient.http as rest_client
import tritonclient.http.auth as rest_auth
from suite import MODEL, arguments, done, refusal, wide
from tritonclient.utils import InferenceServerException


def check(client, kind, basic, arguments):
    bearer = {"authorization": f"Bearer {arguments.api_key}"}
    inputs = wide(kind, arguments.row)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL, headers=bearer)
    result = client.infer(MODEL, inputs, headers=bearer)
    assert result.as_numpy("prediction").tolist() == [arguments.prediction]
    refusal(InferenceServerException, lambda: client.infer(MODEL, inputs), "key")
    client.register_plugin(basic("anybody", arguments.api_key))
    assert client.infer(MODEL, inputs).as_numpy("prediction").tolist() == [arguments.prediction]
    client.unregister_plugin()
    refusal(
        InferenceServerException, lambda: client.infer(MODEL, inputs, headers={"authorization": "Bearer a.b"}), "key"
    )
    explanation = [kind.InferRequestedOutput("shap_values")]
    refusal(
        InferenceServerException, lambda: client.infer(MODEL, inputs, outputs=explanation, headers=bearer), "explain"
    )


def main():
    given = arguments()
    files = {"ca_certs": given.ca, "certfile": given.cert, "keyfile": given.key}
    with rest_client.InferenceServerClient(
        given.address, ssl=True, ssl_options=files, ssl_context_factory=gevent.ssl.create_default_context
    ) as client:
        check(client, rest_client, rest_auth.BasicAuth, given)
    with grpc_client.InferenceServerClient(
        given.grpc_address, ssl=True, root_certificates=given.ca, private_key=given.key, certificate_chain=given.cert
    ) as client:
        check(client, grpc_client, grpc_auth.BasicAuth, given)
    done()


if __name__ == "__main__":
    main()
