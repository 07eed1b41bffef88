"""The embedded store with others on its files: several processes, small maps, full and read-only disks, killed writers."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlrf.core.errors import ConfigError, FeaturesUnavailableError
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.features.entity_key import entity_key
from mlrf.features.explanation_store import EmbeddedExplanations
from mlrf.features.lmdb_store import STATE, LmdbStore
from mlrf.features.row_format import RowFormat, row_digest
from running import eventually

_STORED = """
import sys
from pathlib import Path
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.entity_key import entity_key
from mlrf.features.row_format import RowFormat

ROWS = RowFormat(Schema(tuple(Feature(f"x{i}") for i in range(3))), entity_key([("id", "integer")]))
def key(i): return ROWS.key.encode({"id": i})
def record(x): return ROWS.pack([x] * 3)
"""
ROWS = RowFormat(Schema(tuple(Feature(f"x{i}") for i in range(3))), entity_key([("id", "integer")]))


def key(i: int) -> bytes:
    return ROWS.key.encode({"id": i})


def record(x: float) -> bytes:
    return ROWS.pack([x] * 3)


_ANOTHER = _STORED + "store = LmdbStore(Path(sys.argv[1]), ROWS)\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows"


@pytest.fixture
def store(path):
    made = LmdbStore(path, ROWS)
    yield made
    made.release()


def another(path: Path, code: str, *before: str, **how) -> subprocess.Popen[str]:
    """A separate process that has the store open and runs code with it."""
    command = [*before, sys.executable, "-c", _ANOTHER + code, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def output_of(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip()


def test_every_push_moves_the_transaction_and_nothing_else_does(store):
    assert store.transaction() == 0
    assert [store.upsert([(key(1), record(x))]).transaction for x in (1.0, 2.0)] == [1, 2]
    assert store.read(key(1)).transaction == 2
    assert store.transaction() == 2


def test_what_another_process_pushes_is_found_at_once(store, path):
    store.upsert([(key(1), record(1.0))])
    assert store.read(key(1)).values[0] == 1.0
    output_of(another(path, "store.upsert([(key(1), record(5.0))])"))
    assert (store.read(key(1)).values[0], store.transaction()) == (5.0, 2)


def test_one_process_may_open_a_store_twice(store, path):
    again = LmdbStore(path, ROWS)
    again.upsert([(key(1), record(1.0))])
    again.release()
    assert store.read(key(1)) is not None


def test_released_store_closes_its_files(path):
    def mapped() -> bool:
        return str(path / "data.mdb") in Path("/proc/self/maps").read_text()

    one, two = LmdbStore(path, ROWS), LmdbStore(path, ROWS)
    two.release()
    two.release()
    assert mapped()
    assert one.read(key(1)) is None
    del one
    assert not mapped()


def test_rows_of_another_schema_are_refused(store, path):
    with pytest.raises(ConfigError, match="contains rows of another schema or key"):
        LmdbStore(path, RowFormat(Schema((Feature("x"),)), ROWS.key))


def test_a_map_that_is_too_small_grows_and_others_follow(path):
    few = 1 << 18
    store = LmdbStore(path, ROWS, map_bytes=few)
    try:
        assert store.upsert([(key(i), record(1.0)) for i in range(20_000)]).written == 20_000
        # The other's map is 1 TiB, and reaches beyond ours.
        output_of(another(path, "store.upsert([(key(i), record(2.0)) for i in range(100_000)])"))
        assert store.read(key(99_999)).values[0] == 2.0
        assert store.upsert([(key(1), record(3.0))]).written == 1
    finally:
        store.release()


def test_limited_address_space_gets_a_smaller_map(path):
    limited = ["prlimit", "--as=4000000000"]
    out = output_of(
        another(path, "store.upsert([(key(1), record(1.0))]); print(store.read(key(1)).values[0])", *limited)
    )
    assert out == "1.0"


def test_readers_go_on_while_it_is_written(store):
    store.upsert([(key(i), record(0.0)) for i in range(20)])
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            values = {row.values[0] for row in store.read_many([key(i) for i in range(20)])}
            if len(values) != 1:
                wrong.append(values)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 100):
        store.upsert([(key(i), record(float(number))) for i in range(20)])
    done.set()
    reader.join()
    assert not wrong


def test_killed_writer_blocks_no_one(store, path):
    code = "print('ready', flush=True)\nwhile True: store.upsert([(key(i), record(7.0)) for i in range(1000)])"
    for _ in range(3):
        writer = another(path, code)
        assert writer.stdout.readline() == "ready\n"
        before = store.transaction()
        eventually(lambda before=before: store.transaction() > before, what="a push of the other process")
        writer.kill()
        writer.communicate()
        assert store.upsert([(key(1), record(8.0))]).written == 1
        assert {row.values[0] for row in store.read_many([key(i) for i in range(2, 1000)])} == {7.0}


def test_remains_of_a_killed_load_go_with_the_next_push(store, path):
    store.upsert([(key(1), record(1.0))])
    loads = """
import os
from mlrf.features.bulk_load import load_rows
from mlrf.features.interface import Batch
class Rows:
    def batches(self):
        yield Batch([key(i) for i in range(40_000)], [record(2.0)] * 40_000)
        os._exit(0)
load_rows(store, Rows(), "rows")
"""
    output_of(another(path, loads))

    def left():
        with store.environment.reading:
            transaction = store.environment.begin()
            try:
                return [transaction.stat(each)["entries"] for each in (*store.tables, store.pending)]
            finally:
                transaction.abort()

    assert left() == [1, 32_768, 0]
    store.upsert([(key(2), record(3.0))])
    assert left() == [2, 0, 0]
    assert [store.read(key(i)).values[0] for i in (1, 2)] == [1.0, 3.0]


def test_stalled_writer_is_awaited_up_to_a_limit(store, path):
    store.environment.write_limit_s = 0.2
    writer = another(path, "store.environment.write(lambda t: (print('in', flush=True), __import__('time').sleep(60)))")
    try:
        assert writer.stdout.readline() == "in\n"
        writer.send_signal(signal.SIGSTOP)
        with pytest.raises(FeaturesUnavailableError, match=r"another process has been writing .* for 0\.2 s"):
            store.upsert([(key(1), record(1.0))])
        assert store.read(key(1)) is None
    finally:
        writer.kill()
        writer.communicate()


def test_full_disk_is_reported_and_stored_rows_are_served(tmp_path):
    code = """
from mlrf.core.errors import MlrfError
store.upsert([(key(1), record(1.0))])
try:
    for n in range(100): store.upsert([(key(n * 10000 + i), record(2.0)) for i in range(10000)])
except MlrfError as error:
    print(error)
print(store.read(key(1)).values[0] in (1.0, 2.0), store.transaction() < 100)
"""
    lines = on_a_disk_of_its_own(tmp_path, "size=6m", code, "")
    assert lines == ["the feature store cannot be written: No space left on device", "True True"]


def test_a_read_only_disk_is_served_from_but_takes_no_rows(tmp_path):
    code = """
from mlrf.core.errors import MlrfError
print(store.read(key(1)).values[0])
try: store.upsert([(key(1), record(2.0))])
except MlrfError as error: print(error)
"""
    first = "store.upsert([(key(1), record(1.0))]); store.release()"
    lines = on_a_disk_of_its_own(tmp_path, "size=6m", code, first)
    assert lines == ["1.0", "the feature store is on a read-only disk, so no rows can be stored"]


def test_a_read_only_disk_without_a_store_is_refused(tmp_path):
    lines = on_a_disk_of_its_own(tmp_path, "size=6m", "", "store.release(); import shutil; shutil.rmtree(sys.argv[1])")
    assert "cannot be used as a feature store: Read-only file system; its rows were never loaded" in lines[-1]


def on_a_disk_of_its_own(tmp_path: Path, options: str, code: str, first: str) -> list[str]:
    """Run code with a store on a small disk of its own, read-only where something was to be done `first`."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("making a disk needs root")
    scripts = [tmp_path / "first.py", tmp_path / "then.py"]
    for script, body in zip(scripts, (first, code), strict=True):
        script.write_text(_ANOTHER + body, encoding="utf-8")
    disk = tmp_path / "disk"
    disk.mkdir()
    steps = [f"mount -t tmpfs -o {options} tmpfs {disk}"]
    if first:
        steps += [f"{sys.executable} {scripts[0]} {disk}/rows", f"mount -o remount,ro {disk}"]
    steps.append(f"{sys.executable} {scripts[1]} {disk}/rows 2>&1")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", " && ".join(steps)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip().splitlines() or [done.stderr]


def test_explanations_are_of_exactly_one_row_and_one_model(tmp_path, store):
    explanations = EmbeddedExplanations(tmp_path / "explanations", ROWS, "model one", 3)
    contributions = memoryview(b"".join(ROWS.pack([1.0, 2.0, 3.0])[16:] for _ in range(1)))
    explanations.append([(key(1), row_digest(record(1.0)), bytes(contributions))])
    store.upsert([(key(1), record(1.0)), (key(2), record(1.0))])
    assert list(explanations.read(key(1), store.read(key(1)))) == [1.0, 2.0, 3.0]
    assert explanations.read(key(2), store.read(key(2))) is None
    store.upsert([(key(1), record(1.5))])
    assert explanations.read(key(1), store.read(key(1))) is None
    with pytest.raises(ConfigError, match="explanations of another model"):
        EmbeddedExplanations(tmp_path / "explanations", ROWS, "model two", 3)
    explanations.release()


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, math.nan, 3.0], [math.inf] * 3, b"x"], ids=str
)
def test_damaged_explanations_are_ignored(tmp_path, store, values):
    explanations = EmbeddedExplanations(tmp_path / "explanations", ROWS, "model one", 3)
    raw = values if isinstance(values, bytes) else struct.pack(f"{len(values)}d", *values)
    explanations.append([(key(1), row_digest(record(1.0)), raw)])
    store.upsert([(key(1), record(1.0))])
    assert explanations.read(key(1), store.read(key(1))) is None
    explanations.release()


def test_a_state_of_no_table_is_an_error_of_the_store(tmp_path, store):
    store.upsert([(key(1), record(1.0))])
    store.environment.write(lambda t: t.put(b"state", STATE.pack(2, 9), db=store.meta))
    with pytest.raises(FeaturesUnavailableError, match="cannot be read") as refused:
        store.read(key(1))
    assert "no table 2" in refused.value.reason
