"""The Python client against real servers: the same bits as the model itself, one version a call, errors as classes, retries."""

from __future__ import annotations

import socket
import threading
from http.server import HTTPServer

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlrf
from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from certificates import make_certificate
from mlrf.client import Client, Leniency, ServerUnreachableError, retries
from mlrf.core.errors import (
    ConfigError,
    DeadlineExceededError,
    InvalidFeatureError,
    InvalidRequestError,
    ModelNotFoundError,
    NotExplainableError,
    OverloadedError,
    UnauthenticatedError,
    UnknownCategoryError,
    UnknownFeatureError,
)
from mlrf.core.manifest import LinkEntry
from mlrf.core.publishing import publish
from mlrf.serving.auth.keys import make_key, write_keys
from mlrf.testing import serving
from naive_forest import make_forest
from once_busy import OnceBusy
from raw_http import Client as RawClient
from running import eventually, metrics_of

N_ROWS = 257
PATIENT = ("--max-wait", "60", "--worker-timeout", "60")
"""On a busy machine, a call may wait."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    forest = make_forest(np.random.default_rng(3), n_features=len(ALL_KINDS.features))
    return write_bundle(tmp_path_factory.mktemp("client") / "sales", name="sales", forest=forest)


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle, options=PATIENT) as running:
        yield running


@pytest.fixture
def client(server):
    with server.client(timeout_s=300) as connected:
        yield connected


def frame(n: int = N_ROWS) -> pd.DataFrame:
    rng, most = np.random.default_rng(1), N_ROWS
    whole = pd.DataFrame(
        {
            "price": np.where(rng.random(most) < 0.1, np.nan, rng.normal(size=most)),
            "count": rng.integers(0, 5, most),
            "promo": rng.random(most) < 0.5,
            "store": rng.choice(["north", "süd", "east"], most),
            "size": rng.choice([10, 20, 30], most),
            "code": rng.integers(0, 9, most),
            "depth": rng.normal(size=most),
        },
        index=np.arange(most) * 10,
    )
    return whole.iloc[:n]


def test_an_error_of_a_table_advises_what_the_client_takes(server, client):
    table = frame(2)
    with pytest.raises(
        UnknownFeatureError, match=r'or make the client with leniency=Leniency\(unknown_features="ignore"'
    ):
        client.predict(table.assign(more=1))
    with pytest.raises(UnknownCategoryError, match=r"None for missing, or make the client with leniency=Leniency\(unk"):
        client.predict(table.assign(store="west"))
    with pytest.raises(InvalidFeatureError, match="send None or NaN where it is missing"):
        client.predict(table.assign(price="cheap"))
    with server.client(leniency=Leniency("ignore", "missing"), timeout_s=300) as lenient:
        expected = client.predict(table.assign(store=None))
        assert lenient.predict(table.assign(store="west", more=1)).tolist() == expected.tolist()


def records(n: int = N_ROWS) -> list[dict[str, object]]:
    table = frame(n)
    plain = table.astype(object).where(table.notna(), None)
    return plain.to_dict("records")


def test_every_kind_of_table_gets_the_bits_of_the_model(client, bundle):
    expected = mlrf.load(bundle).predict(frame())
    from_pandas = client.predict(frame())
    assert isinstance(from_pandas, pd.Series)
    assert from_pandas.index.tolist() == frame().index.tolist()
    from_polars = client.predict(pl.from_pandas(frame()))
    assert isinstance(from_polars, pl.Series)
    from_arrow = client.predict(pa.Table.from_pandas(frame(), preserve_index=False))
    assert isinstance(from_arrow, pa.Array)
    for answer in (from_pandas, from_polars, from_arrow, client.predict(records())):
        assert np.asarray(answer).tolist() == expected.tolist()


def test_one_record_gets_the_same_bits(client, bundle):
    model = mlrf.load(bundle)
    for record in records(5):
        assert client.predict(record) == model.predict([record])[0]


def test_numpy_scalars_in_a_record_are_sent_as_numbers(client, bundle):
    record = records(1)[0]
    numpy_record = {**record, "depth": np.float64(record["depth"]), "count": np.int64(record["count"])}
    assert client.predict(numpy_record) == client.predict(record)


def test_a_table_longer_than_the_server_takes_is_sent_in_chunks(bundle):
    expected = mlrf.load(bundle).predict(frame()).tolist()
    with serving(bundle, options=("--max-infer-rows", "50")) as small, small.client() as client:
        assert client.predict(frame()).tolist() == expected


def test_explanations_of_a_table_are_those_of_the_model(client, bundle):
    served, local = client.explain(frame(20)), mlrf.load(bundle).explain(frame(20))
    assert np.allclose(served.values, local.values, atol=1e-12)
    assert served.base == local.base
    assert served.feature_names == local.feature_names


def test_one_record_is_explained_by_its_heaviest_features(client):
    explanation = client.explain(records(1)[0], top=2)
    assert len(explanation["contributions"]) == 2
    total = explanation["base"] + sum(explanation["contributions"].values()) + explanation["other"]
    assert total == pytest.approx(explanation["margin"], abs=1e-9)


def test_interactions_are_those_of_the_model(client, bundle, monkeypatch):
    monkeypatch.setattr("mlrf.client.table_inference._CHUNK_ROWS", 8)
    served, local = (
        client.explain(frame(20), interactions=True),
        mlrf.load(bundle).explain(frame(20), interactions=True),
    )
    np.testing.assert_allclose(served.interactions, local.interactions, atol=1e-12)
    found = client.explain(records(1)[0], interactions=2)["interactions"]
    assert [len(found["pairs"]), len(found["main"])] == [2, len(ALL_KINDS.features)]
    assert client.explain(records(1)[0], interactions=True)["interactions"]["other"] == pytest.approx(0.0, abs=1e-12)


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """A server of a model with a background and groups, and of one without either; and the first model."""
    folder = tmp_path_factory.mktemp("games")
    rows = [ALL_KINDS.row(each) for each in records(5)]
    path = write_tree_bundle(folder / "sales", background=rows, groups={"place": ["store", "depth"]})
    plain = write_tree_bundle(folder / "plain", name="plain")
    with serving(path, plain, options=(*PATIENT, "--default", "sample")) as running:
        yield running, mlrf.load(path)


@pytest.mark.parametrize("game", [{"background": True}, {"groups": True}, {"background": True, "groups": True}])
def test_explanations_of_another_game_are_those_of_the_model(games, game, monkeypatch):
    monkeypatch.setattr("mlrf.client.table_inference._CHUNK_ROWS", 8)
    running, model = games
    local = model.explain(frame(20), **game)
    with running.client(timeout_s=300) as client:
        served = client.explain(frame(20), **game)
        one = client.explain(records(1)[0], **game)
        assert len(client.explain(records(1)[0], top=1, **game)["contributions"]) == 1
    assert (served.game, served.groups, served.base) == (local.game, local.groups, local.base)
    assert served.feature_names == local.feature_names
    assert served.display_data().tolist() == local.display_data().tolist()
    np.testing.assert_allclose(served.values, local.values, atol=1e-12)
    np.testing.assert_allclose(
        [one["contributions"][name] for name in local.feature_names], local.values[0], atol=1e-12
    )


@pytest.mark.parametrize(("game", "content"), [("background", "rows"), ("groups", "groups")])
def test_a_game_that_no_request_can_have_is_refused(games, game, content):
    running, _ = games
    with running.client(timeout_s=300) as client:
        assert (client.explain(frame(2)).game, client.explain(frame(2)).groups) == ("path-dependent", None)
        with pytest.raises(InvalidRequestError, match=f"leave out `{game}`, or `interactions`"):
            client.explain(frame(2), interactions=True, **{game: True})
        with pytest.raises(InvalidRequestError, match=f"`{game}` is True, for the {content} in the server's bundle"):
            client.explain(frame(2), **{game: {"place": ["store"]}})
    with (
        running.client(timeout_s=300, model="plain") as client,
        pytest.raises(NotExplainableError, match=f"has no {game}"),
    ):
        client.explain(frame(2), **{game: True})


def test_probabilities_of_a_classifier(tmp_path):
    binary = write_bundle(tmp_path / "yes", name="yes", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"])
    with serving(binary) as running, running.client() as client:
        proba = client.predict_proba(frame(5))
        assert list(proba.columns) == ["no", "yes"]
        assert proba["yes"].tolist() == client.predict(frame(5)).tolist()
        assert client.predict_proba(records(1)[0]) == proba.iloc[0].tolist()


def test_probabilities_of_a_regressor_are_refused(client):
    for rows in (frame(3), records(1)[0]):
        with pytest.raises(InvalidRequestError, match="not a classifier"):
            client.predict_proba(rows)


def test_errors_are_the_servers_classes(client):
    with pytest.raises(UnknownCategoryError) as caught:
        client.predict({**records(1)[0], "store": "west"})
    assert caught.value.details["feature"] == "store"
    assert caught.value.details["status"] == 422
    with pytest.raises(UnknownCategoryError, match="row 2"):
        client.predict([*records(2), {**records(1)[0], "store": "west"}])


def test_a_model_that_is_not_served_is_named(server):
    with server.client(model="other") as client, pytest.raises(ModelNotFoundError, match="sales"):
        client.predict(frame(2))


def test_a_table_without_rows_is_refused(client):
    with pytest.raises(InvalidRequestError, match="no rows"):
        client.predict(frame(0))


def test_call_is_repeated_after_a_version_change(tmp_path):
    rng = np.random.default_rng(5)
    first, second = (
        write_bundle(tmp_path / f"v{i}", name="sales", forest=make_forest(rng, n_features=len(ALL_KINDS.features)))
        for i in (1, 2)
    )
    repository = tmp_path / "models"
    publish(first, repository)
    with serving(repository) as running, running.client() as client:
        assert client.predict(frame(9)).tolist() == mlrf.load(first).predict(frame(9)).tolist()
        publish(second, repository)
        expected = mlrf.load(second).predict(frame(9)).tolist()
        eventually(lambda: client.predict(frame(9)).tolist() == expected, what="the second version")


def test_a_key_is_sent_and_never_shown(bundle, tmp_path):
    secret, key = make_key("billing", ["predict"])
    write_keys(tmp_path / "keys.txt", {"billing": key})
    with serving(bundle, options=("--keys", str(tmp_path / "keys.txt"))) as running:
        with running.client(key=secret) as client:
            assert isinstance(client.predict(records(1)[0]), float)
            assert secret not in repr(client)
        with running.client() as client, pytest.raises(UnauthenticatedError):
            client.predict(records(1)[0])


def test_tls_with_a_certificate_of_our_own(bundle, tmp_path):
    certificate, private = make_certificate(tmp_path, "localhost")
    options = ("--tls-cert", str(certificate), "--tls-key", str(private))
    with serving(bundle, options=options, ca_file=str(certificate)) as running:
        with running.client() as client:
            assert isinstance(client.predict(records(1)[0]), float)
        with (
            Client(running.url) as client,
            pytest.raises(ServerUnreachableError, match="give the one to trust as ca_file"),
        ):
            client.predict(records(1)[0])


@pytest.fixture
def busy(monkeypatch):
    monkeypatch.setattr(retries, "_LONGEST_WAIT_S", 0.02)
    OnceBusy.timeouts = []
    listener = HTTPServer(("127.0.0.1", 0), OnceBusy)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    listener.server_close()


def test_busy_server_is_retried_within_the_deadline(busy):
    OnceBusy.refusals = 2
    with Client(busy, timeout_s=300) as client:
        assert client.predict({"x": 1}) == 1.5
    assert len(OnceBusy.timeouts) == 3
    assert OnceBusy.timeouts == sorted(OnceBusy.timeouts, reverse=True)


def test_retries_add_at_most_a_tenth_of_load(busy):
    OnceBusy.refusals = 1_000_000
    calls = 200
    with Client(busy, timeout_s=300) as client:
        for _ in range(calls):
            with pytest.raises(OverloadedError):
                client.predict({"x": 1})
    assert len(OnceBusy.timeouts) <= calls * 1.1 + 10


def test_a_closed_port_is_named():
    # Bound, so that no other test gets it meanwhile, but not listened on.
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with (
            Client(f"http://127.0.0.1:{port}", retries=1) as client,
            pytest.raises(ServerUnreachableError, match=str(port)),
        ):
            client.predict({"x": 1})


def test_a_silent_server_ends_with_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout_s=3600) as client, pytest.raises(DeadlineExceededError):
            client.predict({"x": 1}, timeout_s=0.3)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://u:p@host", "http://host?x=1"])
def test_a_url_of_no_server_is_refused(url):
    with pytest.raises(ConfigError, match="http://host:port"):
        Client(url)


def open_connections(running):
    with RawClient(int(running.url.rpartition(":")[2])) as raw:
        return metrics_of(raw.ask("GET", "/metrics"))["mlrf_open_connections"]


def test_an_idle_connection_that_the_server_closed_is_replaced(bundle):
    with serving(bundle, options=("--idle-timeout", "1")) as running, running.client(retries=0) as client:
        first = client.predict(records(1)[0])
        eventually(
            lambda: open_connections(running) == 1, what="the end of the client's, with one that asks for metrics"
        )
        assert client.predict(records(1)[0]) == first


def test_many_threads_share_a_client(client, bundle):
    expected = [float(x) for x in mlrf.load(bundle).predict(frame())]
    rows = records()
    answers: list[float | None] = [None] * len(rows)

    def ask(start):
        for i in range(start, len(rows), 8):
            answers[i] = client.predict(rows[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected
