"""Invalid rows, written to a store without the server, and the answers of every entry point for them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

import mlrf
from bundles import ALL_KINDS, NUMBERS, write_tree_bundle
from grpc_peer import INFERENCE, Peer, address_of
from inference_wires import GrpcWire, ParsedRequest, RestWire, Tensor
from mlrf.core.bundle import read_bundle
from mlrf.features.entity_key import entity_key
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.local_folders import local_folders
from mlrf.features.row_format import RowFormat, row_format
from raw_http import Client
from redis_server import redis_server
from running import Server, serving

SOUND = ALL_KINDS.row(ALL_KINDS.example())
_DIGEST_BYTES = 8
NO_CHECK = """
from mlrf.core.column_rules import ColumnRules
ColumnRules.first_outside = lambda self, rows: None
"""
"""A server that does not check stored values."""


def forged(rows: RowFormat) -> dict[str, bytes]:
    """The bytes of invalid rows, by kind of damage."""

    def of(index: int, value: float) -> bytes:
        return rows.pack([value if i == index else x for i, x in enumerate(SOUND)], 5)

    whole = rows.pack(SOUND, 5)
    return {
        "infinite": of(0, math.inf),
        "fraction of a count": of(1, 0.5),
        "boolean 2": of(2, 2.0),
        "category of no list": of(3, 3.0),
        "negative category": of(4, -1.0),
        "missing where it may not be": of(6, math.nan),
        "after year 9999": rows.pack(SOUND, (1 << 63) - 1),
        "before year 1": rows.pack(SOUND, -(1 << 63) + 1),
        "cut short": whole[:-8],
        "too long": whole + bytes(8),
        "empty": b"",
        "text": json.dumps(ALL_KINDS.example()).encode(),
        "another format": b"\2" + whole[1:],
        "another schema": RowFormat(NUMBERS, rows.key).pack([0.5] * 3),
        "another key": RowFormat(rows.schema, entity_key([("id", "string")])).pack(SOUND),
        "lacks what is not a feature": whole[:1] + b"\1" + whole[2:] + b"\x80",
    }


Plant = Callable[[bytes, bytes], None]


@dataclass(frozen=True)
class Finding:
    """Answers for invalid rows other than 503 INVALID_STORED_ROW, and other failures."""

    n_requests: int
    wrong: list[str]


def ask_for_forged(kind: str, *, broken_by: str = "") -> Finding:
    """Request forged rows at every entry point; they are stored in `kind`, `redis` or `lmdb`."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "sample", key={"id": "integer"})
        rows = row_format(read_bundle(path))
        with _store(kind, Path(folder), path, rows) as (options, plant):
            options += ["--grpc-port", "0", "--admin", f"unix:{folder}/admin", "--state-dir", f"{folder}/state"]
            with serving(path, options=options, broken_by=broken_by) as server:
                return _ask_all(
                    server, rows, plant(), Path(folder) / "admin", float(mlrf.load(path).predict([SOUND])[0])
                )


@contextlib.contextmanager
def _store(kind: str, folder: Path, path: Path, rows: RowFormat) -> Iterator[tuple[list[str], Callable[[], Plant]]]:
    if kind == "lmdb":
        opened = []

        def lmdb() -> Plant:
            store = LmdbStore(local_folders(folder / "state", read_bundle(path), rows).rows, rows)
            opened.append(store)
            return lambda key, record: store.environment.write(lambda t: t.put(key, record, db=store.tables[0]))

        yield [], lmdb
        for each in opened:
            each.release()
        return
    with redis_server(folder) as redis, Redis(unix_socket_path=str(redis.socket)) as client:
        name = f"mlrf:sample:{rows.digest[:16]}:rows"

        def plant(key: bytes, record: bytes) -> None:
            digest = hashlib.blake2b(key + record, digest_size=_DIGEST_BYTES).digest()
            client.hset(name, key, record + digest)

        yield ["--features", redis.url, "--features-timeout", "1"], lambda: plant


def _ask_all(server: Server, rows: RowFormat, plant: Plant, admin: Path, expected: float) -> Finding:
    sound_id, wrong, n_requests = 0, [], 0
    sound = rows.pack(SOUND, 5)
    plant(rows.key.encode({"id": sound_id}), sound)
    with Peer(address_of(server)) as peer:
        for number, (what, record) in enumerate(forged(rows).items(), 1):
            key = rows.key.encode({"id": number})
            plant(key, record)
            answers = dict(_answers(server, peer, number, sound_id))
            n_requests += len(answers)
            wrong += [
                f"{what} by {door}: {answer}" for door, answer in answers.items() if answer != "503 INVALID_STORED_ROW"
            ]
            sound_answer = server.ask("POST", "/predict", {"key": {"id": sound_id}})
            if sound_answer.status != 200 or sound_answer.json["prediction"] != expected:
                wrong.append(f"a sound row next to {what}: {sound_answer.body!r}")
            with Client(admin) as client:
                row = {"key": {"id": number}, "features": ALL_KINDS.example()}
                client.ask("POST", "/admin/models/sample/features", {"rows": [row]})
            mended = server.ask("POST", "/predict", {"key": {"id": number}})
            if mended.status != 200 or mended.json["prediction"] != expected:
                wrong.append(f"pushed anew after {what}: {mended.body!r}")
    counted = server.metrics().get("mlrf_refusals_total;code=INVALID_STORED_ROW", 0)
    if counted != n_requests:
        wrong.append(f"{counted:.0f} counted of {n_requests}")
    events = [entry["event"] for entry in server.troubles]
    if not events or set(events) != {"stored row refused"}:
        wrong.append(f"logged: {sorted(set(events))}")
    return Finding(n_requests, wrong)


def _answers(server: Server, peer: Peer, number: int, other_id: int) -> Iterator[tuple[str, str]]:
    """Yield what each entry point answers for a key: status and code."""
    key = {"key": {"id": number}}
    bodies = {
        "/predict": key | {"return_features": True},
        "/explain": key,
        "/predict/batch": {"instances": [{"key": {"id": other_id}}, key]},
    }
    for path, body in bodies.items():
        answer = server.ask("POST", path, body)
        yield path, f"{answer.status} {answer.json.get('code', answer.json)}"
    request = ParsedRequest([Tensor("id", "INT64", [number], [1])])
    body, _ = RestWire(None, binary=False).message(request)
    rest = server.ask("POST", "/v2/models/sample/infer", body)
    yield (
        "REST",
        f"{rest.status} {'INVALID_STORED_ROW' if 'not a valid row' in rest.json.get('error', '') else rest.json}",
    )
    body, _ = GrpcWire(None, raw=False).message(request)
    answer = peer.ask(INFERENCE + "ModelInfer", body)
    is_refused = (
        not isinstance(answer, bytes) and answer.code().name == "UNAVAILABLE" and "not a valid row" in answer.details()
    )
    yield "gRPC", "503 INVALID_STORED_ROW" if is_refused else str(answer)
