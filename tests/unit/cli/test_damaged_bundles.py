"""Every offline command on bundles with a file that is missing, empty or junk."""

from __future__ import annotations

import shutil
import struct

import pytest

from bundles import NUMBERS, write_tree_bundle
from damaged import copied, damages, keyed_bundle
from looping_model import endless, replaced
from mlrf.cli import main


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return keyed_bundle(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("a,b\n1,2\n")
    return path


def commands(bundle, sound, rows, folder):
    return {
        "publish": ["publish", bundle, folder / "models"],
        "verify": ["verify", bundle],
        "inspect": ["inspect", bundle],
        "predict": ["predict", bundle, rows],
        "explain": ["explain", bundle, rows],
        "diff to it": ["diff", sound, bundle],
        "diff from it": ["diff", bundle, sound],
        "bench": ["bench", bundle, "--rows", "100"],
        "features": ["features", "stats", bundle, "--state-dir", folder / "state"],
    }


def ends_with_3(capsys, arguments):
    status = main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return (
        status == 3
        and len(captured.err.splitlines()) == 1
        and captured.err.startswith("mlrf: ")
        and "/proc/" not in captured.err
    )


def test_commands_exit_3_with_one_line_for_damaged_files(capsys, sound, rows, tmp_path):
    wrong = []
    for what, damage in damages(sound):
        copy = copied(sound, tmp_path, damage)
        wrong += [
            f"{what}: {command}"
            for command, arguments in commands(copy, sound, rows, tmp_path).items()
            if not ends_with_3(capsys, arguments)
        ]
        shutil.rmtree(copy)
    assert wrong == []
    assert not (tmp_path / "models").exists()


def test_every_command_accepts_the_valid_bundle(capsys, sound, rows, tmp_path):
    for command, arguments in commands(sound, sound, rows, tmp_path).items():
        assert main([str(each) for each in arguments]) == 0, (command, capsys.readouterr().err)


def test_verify_refuses_a_bundle_without_golden_parquet(capsys, sound, tmp_path):
    copy = copied(sound, tmp_path, lambda copy: replaced(copy, "golden.parquet", None))
    assert ends_with_3(capsys, ["verify", copy])


@pytest.mark.parametrize("name", ["forest.bin", "golden.bin", "golden.parquet", "features.parquet", "model.onnx"])
def test_file_truncated_after_its_header_is_refused(capsys, sound, tmp_path, name):
    content = (sound / name).read_bytes()
    copy = copied(sound, tmp_path, lambda copy: replaced(copy, name, content[: len(content) // 2]))
    assert ends_with_3(capsys, ["verify", copy])


def test_verify_replays_through_both_engines(capsys, tmp_path):
    bundle = write_tree_bundle(tmp_path / "bundle", schema=NUMBERS)
    other = write_tree_bundle(tmp_path / "other", schema=NUMBERS, seed=8)
    replaced(bundle, "model.onnx", (other / "model.onnx").read_bytes())
    assert ends_with_3(capsys, ["verify", bundle])


def test_publish_and_rollback_replay_golden_rows(capsys, tmp_path):
    bundle = write_tree_bundle(tmp_path / "bundle", schema=NUMBERS)
    assert main(["publish", str(bundle), str(tmp_path / "models")]) == 0
    golden = bytearray((bundle / "golden.bin").read_bytes())
    golden[-8:] = struct.pack("<d", 1234.5)
    bad = replaced(shutil.copytree(bundle, tmp_path / "bad"), "golden.bin", bytes(golden))
    assert ends_with_3(capsys, ["publish", bad, tmp_path / "models"])
    model = tmp_path / "models/sample"
    assert main(["publish", str(write_tree_bundle(tmp_path / "two", schema=NUMBERS, seed=8)), str(model.parent)]) == 0
    replaced(model / "1", "golden.bin", bytes(golden))
    pointer = (model / "current.json").read_bytes()
    assert ends_with_3(capsys, ["rollback", model])
    assert (model / "current.json").read_bytes() == pointer


def test_a_model_that_never_answers_is_not_published(capsys, monkeypatch, tmp_path):
    bundle = replaced(write_tree_bundle(tmp_path / "bundle", schema=NUMBERS), "forest.bin", None)
    replaced(bundle, "model.onnx", endless(3))
    monkeypatch.setattr("mlrf.cli.publish.REPLAY_LIMIT_S", 1.0)
    assert ends_with_3(capsys, ["publish", bundle, tmp_path / "models"])


@pytest.mark.parametrize("name", ["features.parquet", "explanations.parquet"])
def test_rows_that_a_server_could_not_load_are_refused(capsys, sound, tmp_path, name):
    content = bytearray((sound / name).read_bytes())
    content[len(content) // 4] ^= 1
    copy = copied(sound, tmp_path, lambda copy: replaced(copy, name, bytes(content)))
    assert ends_with_3(capsys, ["verify", copy])
    assert ends_with_3(capsys, ["publish", copy, tmp_path / "models"])
    assert not (tmp_path / "models").exists()
