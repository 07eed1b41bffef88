"""`mlrf publish` to a registry of images: Debian's own, without and with passwords and tokens."""

from __future__ import annotations

import contextlib
import filecmp
import json
import shutil

import pytest

pytest.importorskip("oras")
import oras.provider

from bundles import ALL_KINDS, NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import BundleError, ConfigError, RepositoryError, SchemaChangedError
from mlrf.core.manifest import MANIFEST, SIGNATURE
from mlrf.signing.bundle_signature import verify_bundle
from mlrf.signing.key_pairs import read_public_keys
from mlrf.stores.address import parse_address
from mlrf.stores.mirror import Mirror
from mlrf.stores.oci_publishing import publish_to_registry
from mlrf.stores.open_store import open_reader
from registries import PASSWORD, log_in, password_registry, token_registry
from running import free_port
from signed_bundles import make_pair, signed
from store_servers import push, registry_program, registry_server

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the registries' clients
    pytest.mark.skipif(registry_program() is None, reason="docker-registry is not installed"),
]
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed, n_trees=3) for seed in (7, 8)]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with registry_server(tmp_path_factory.mktemp("registry")) as (found, _):
        yield found


@pytest.fixture
def tag(host, request):
    return parse_address(f"oci://{host}/team/{request.node.name.lower()[:50].strip('_')}:prod")


def pulled(address, cache):
    """The bundle that a server which follows an address has in its cache."""
    mirror = Mirror(address, cache, lambda: open_reader(address, TIMEOUT_S))
    [change] = mirror.sync()
    return mirror.path / change.model / str(change.number)


def assert_equal_folders(one, other):
    names = sorted(each.name for each in one.iterdir())
    assert sorted(each.name for each in other.iterdir()) == names
    assert filecmp.cmpfiles(one, other, names, shallow=False) == (names, [], [])


def test_a_published_bundle_is_pulled_to_the_byte(tag, bundles, tmp_path, capsys):
    assert main(["publish", str(bundles[0]), tag.text]) == 0
    [line] = capsys.readouterr().out.splitlines()
    pinned, _, said = line.partition(": ")
    assert pinned.startswith(f"{tag.text}@sha256:")
    assert said == f"sample {read_bundle(bundles[0]).short_version} published"
    for number, text in enumerate((tag.text, pinned, f"{tag.text.rpartition(':')[0]}@{pinned.partition('@')[2]}")):
        assert_equal_folders(bundles[0], pulled(parse_address(text), tmp_path / str(number)))
    with contextlib.chdir(tmp_path):
        oras.provider.Registry(insecure=True).pull(tag.text.removeprefix("oci://"), outdir=str(tmp_path / "oras"))
    assert_equal_folders(bundles[0], tmp_path / "oras")
    assert main(["publish", str(bundles[0]), tag.text]) == 0
    assert capsys.readouterr().out == line.replace(" published", " is there already") + "\n"


def test_a_tag_of_another_bundle_is_moved_on_request_only(tag, bundles, tmp_path, capsys):
    publish_to_registry(bundles[0], tag, TIMEOUT_S)
    assert main(["publish", str(bundles[1]), tag.text]) == 1
    assert f"points to another bundle ({read_bundle(bundles[0]).short_version}); give a new tag, or --force" in (
        capsys.readouterr().err
    )
    assert_equal_folders(bundles[0], pulled(tag, tmp_path / "one"))
    assert main(["publish", str(bundles[1]), tag.text, "--force"]) == 0
    assert_equal_folders(bundles[1], pulled(tag, tmp_path / "two"))
    other = write_tree_bundle(tmp_path / "other", schema=ALL_KINDS, n_trees=3)
    with pytest.raises(SchemaChangedError, match="--allow-schema-change"):
        publish_to_registry(other, tag, TIMEOUT_S, force=True)
    assert publish_to_registry(other, tag, TIMEOUT_S, force=True, allow_schema_change=True).is_new


def test_a_tag_that_is_no_bundle_is_never_moved(tag, bundles, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/readme").write_text("no bundle")
    push(tag.host, tmp_path / "files", tag.path)
    with pytest.raises(RepositoryError, match="points to something that is not a bundle"):
        publish_to_registry(bundles[0], tag, TIMEOUT_S, force=True)


def test_what_oras_pushed_is_the_same_bundle(tag, bundles, tmp_path):
    push(tag.host, bundles[0], tag.path)
    assert publish_to_registry(bundles[0], tag, TIMEOUT_S).is_new
    assert_equal_folders(bundles[0], pulled(tag, tmp_path))


def test_a_signature_goes_along_and_stays(tag, bundles, tmp_path):
    key, public = make_pair(tmp_path)
    publish_to_registry(bundles[0], tag, TIMEOUT_S)
    copy = signed(shutil.copytree(bundles[0], tmp_path / "copy"), key)
    assert publish_to_registry(copy, tag, TIMEOUT_S).is_new
    assert_equal_folders(copy, pulled(tag, tmp_path / "one"))
    assert not publish_to_registry(bundles[0], tag, TIMEOUT_S).is_new
    keys = read_public_keys([public])
    verify_bundle(read_bundle(pulled(tag, tmp_path / "two")), keys)
    other, _ = make_pair(tmp_path, "other")
    assert publish_to_registry(signed(copy, other), tag, TIMEOUT_S).is_new
    with pytest.raises(BundleError, match="signed with another key"):
        verify_bundle(read_bundle(pulled(tag, tmp_path / "three")), keys)


def test_an_interrupted_publish_leaves_the_tag_as_it_was(tag, bundles):
    def interrupt(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_to_registry(bundles[0], tag, TIMEOUT_S, on_bytes=interrupt)
    with pytest.raises(RepositoryError, match="there is no such artefact"):
        open_reader(tag, TIMEOUT_S)
    first = publish_to_registry(bundles[0], tag, TIMEOUT_S)
    with pytest.raises(KeyboardInterrupt):
        publish_to_registry(bundles[1], tag, TIMEOUT_S, force=True, on_bytes=interrupt)
    assert open_reader(tag, TIMEOUT_S).resolved == first.resolved


def test_a_tag_that_moves_during_the_upload_is_not_replaced(tag, bundles):
    def race(done, total):
        if done == total:
            push(tag.host, bundles[0], tag.path)

    with pytest.raises(RepositoryError, match="something else was published meanwhile"):
        publish_to_registry(bundles[1], tag, TIMEOUT_S, on_bytes=race)


def test_a_bundle_that_changes_during_the_upload_is_refused(tag, bundles, tmp_path):
    copy = shutil.copytree(bundles[0], tmp_path / "copy")
    last = max(read_bundle(copy).manifest.files)
    content = (copy / last).read_bytes()

    def alter(_done, _total):
        (copy / last).write_bytes(bytes(len(content)))

    with pytest.raises(RepositoryError, match=rf"{last}: the registry answered 400 \(DIGEST_INVALID"):
        publish_to_registry(copy, tag, TIMEOUT_S, on_bytes=alter)
    with pytest.raises(RepositoryError, match="there is no such artefact"):
        open_reader(tag, TIMEOUT_S)


def test_targets_that_are_no_tags_are_refused(host, bundles, tmp_path, capsys):
    with pytest.raises(ConfigError, match="a digest cannot be published to"):
        publish_to_registry(bundles[0], parse_address(f"oci://{host}/a@sha256:{'0' * 64}"), TIMEOUT_S)
    for name in ("Team/a:b", "a:", "a@3", "a@sha256:00", "a//b", "a:b:c"):
        with pytest.raises(ConfigError, match=r"is not an address of the form|has an empty part"):
            parse_address(f"oci://{host}/{name}")
    assert main(["publish", str(bundles[0]), str(tmp_path / "models"), "--force"]) == 2
    assert "--force moves a tag of a registry" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_damaged_bundle_is_not_published(tag, bundles, tmp_path):
    copy = shutil.copytree(bundles[0], tmp_path / "copy")
    (copy / "golden.bin").write_bytes(b"")
    assert main(["publish", str(copy), tag.text]) == 3
    with pytest.raises(RepositoryError, match="there is no such artefact"):
        open_reader(tag, TIMEOUT_S)


def test_a_registry_that_does_not_answer_is_named(bundles, capsys):
    text = f"oci://127.0.0.1:{free_port()}/a:b"
    assert main(["publish", str(bundles[0]), text]) == 1
    assert capsys.readouterr().err == f"mlrf: {text}: the registry cannot be reached: Connection refused\n"


def test_a_registry_with_passwords_takes_those_of_docker(bundles, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    with password_registry(tmp_path) as host:
        tag = parse_address(f"oci://{host}/a:b")
        for attempt in range(2):
            assert main(["publish", str(bundles[0]), tag.text]) == 1
            assert f"log in with `docker login {host}`" in capsys.readouterr().err
            log_in(tmp_path, host, f"wrong {attempt}")
        log_in(tmp_path, host)
        assert publish_to_registry(bundles[0], tag, TIMEOUT_S).is_new
        assert_equal_folders(bundles[0], pulled(tag, tmp_path / "cache"))


@pytest.mark.parametrize(
    ("variable", "path"), [("DOCKER_CONFIG", ".docker"), ("REGISTRY_AUTH_FILE", ".docker/config.json")]
)
def test_a_variable_names_the_file_of_credentials(variable, path, bundles, tmp_path, monkeypatch):
    """It alone counts, as for docker and podman: a container may have no home directory."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with password_registry(tmp_path) as host:
        log_in(tmp_path / "home", host, "wrong")
        log_in(tmp_path, host)
        monkeypatch.setenv(variable, str(tmp_path / path))
        tag = parse_address(f"oci://{host}/a:b")
        assert publish_to_registry(bundles[0], tag, TIMEOUT_S).is_new
        assert_equal_folders(bundles[0], pulled(tag, tmp_path / "cache"))


def test_a_damaged_file_of_credentials_is_named(tmp_path, monkeypatch):
    tag = parse_address("oci://127.0.0.1:9/a:b")
    file = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    for content, problem in (
        (None, "No such file or directory"),
        ("{", "is not docker's JSON"),
        ('{"auths": []}', "JSON"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(RepositoryError, match=rf"auth.json, the file of credentials for registries: .*{problem}"):
            open_reader(tag, TIMEOUT_S)


def test_a_registry_with_tokens_is_asked_for_one_to_write(bundles, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    with token_registry(tmp_path) as (host, scopes):
        tag = parse_address(f"oci://{host}/a:b")
        log_in(tmp_path, host, "wrong")
        assert main(["publish", str(bundles[0]), tag.text]) == 1
        captured = capsys.readouterr()
        assert f"docker login {host}" in captured.err
        log_in(tmp_path, host)
        assert publish_to_registry(bundles[0], tag, TIMEOUT_S).is_new
        assert [set(each.rpartition(":")[2].split(",")) for each in scopes] == [{"pull"}, {"pull", "push"}]
        assert_equal_folders(bundles[0], pulled(tag, tmp_path / "cache"))
        assert PASSWORD not in captured.err + captured.out


def test_the_artefact_names_its_kind_and_version(tag, bundles, tmp_path):
    publish_to_registry(bundles[0], tag, TIMEOUT_S)
    artefact = oras.provider.Registry(insecure=True).get_manifest(tag.text.removeprefix("oci://"))
    assert artefact["artifactType"] == "application/vnd.mlrf.bundle.v1"
    assert artefact["annotations"]["org.opencontainers.image.version"] == read_bundle(bundles[0]).short_version
    titles = [each["annotations"]["org.opencontainers.image.title"] for each in artefact["layers"]]
    assert sorted(titles) == sorted([*read_bundle(bundles[0]).manifest.files, MANIFEST])
    assert json.dumps(artefact).count(SIGNATURE) == 0
