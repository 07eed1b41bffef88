"""A server of the demo's contract in fifty lines, started as `python stand_in_server.py BUNDLE PORT`.

BUNDLE holds what the tests' stand-in builder wrote: LightGBM's own text model and the features' names and categories.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httptools
import lightgbm as lgb
import numpy as np
import uvloop

bundle = Path(sys.argv[1])
booster = lgb.Booster(model_file=str(bundle / "model.txt"))
categories: dict[str, list | None] = json.loads((bundle / "features.json").read_text())


stored = {json.dumps(each["key"]): each["features"] for each in json.loads((bundle / "rows.json").read_text())}


def predict(body: bytes) -> dict:
    request = json.loads(body)
    features = request["features"] if "features" in request else stored[json.dumps(request["key"])]
    row = []
    for name, names in categories.items():
        value = features[name]
        row.append(np.nan if value is None else names.index(value) if names else float(value))
    prediction = booster.predict(np.array([row]), num_threads=1)[0]
    answer = {"prediction": prediction, "model": "stand-in", "version": "0", "cached": False}
    if "key" in request:
        contributions = dict(list(zip(features, range(9), strict=False))[: request["explain"]])
        explanation = {
            "margin": 2.0,
            "base": 1.0,
            "contributions": contributions,
            "other": 0.5,
            "source": "precomputed",
        }
        known = request["key"]["date"] + "T00:00:00Z"
        answer |= {"features_as_of": known, "features": features, "explanation": explanation}
    return answer


class StandInProtocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.body, self.url = transport, b"", b""
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url, self.body = url, b""

    def on_body(self, chunk):
        self.body += chunk

    def on_message_complete(self):
        answer = json.dumps(predict(self.body) if self.url == b"/predict" else {"ready": True}).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))


async def serve() -> None:
    listener = await asyncio.get_running_loop().create_server(StandInProtocol, "127.0.0.1", int(sys.argv[2]))
    await listener.serve_forever()


uvloop.run(serve())
