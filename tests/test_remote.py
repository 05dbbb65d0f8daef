"""A DVC remote on moto's S3 server on loopback: a colleague pulls what was pushed, without training."""

import filecmp
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run

pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="the extra dev is not installed")
from moto.server import ThreadedMotoServer  # noqa: E402

RESULTS = ("report", "models", "metrics", "plots")
WATCHERS = {"watch_photographs", "watch_weights"}  # their links depend on the machine


def done(folder: Path, *command: str) -> subprocess.CompletedProcess:
    person = {f"GIT_{role}_{key}": "t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    result = run(folder, *command, **person)
    assert result.returncode == 0, result.stderr + result.stdout
    return result


def ran(folder: Path, *command: str) -> set[str]:
    """The stages that `command` of DVC runs."""
    return set(re.findall(r"Running stage '(.+?)'", done(folder, "dvc", *command).stdout))


def clone(repository: Path, folder: Path) -> Path:
    """A clone with the keys of the remote. It uses links, not copies, because eight models have 500 MB."""
    done(repository, "git", "clone", "--quiet", str(repository), str(folder))
    done(folder, "dvc", "config", "--local", "cache.type", "hardlink")
    for key in ("access_key_id", "secret_access_key"):
        done(folder, "dvc", "remote", "modify", "--local", "loopback", key, "any")
    return folder


def assert_same_results(one: Path, other: Path) -> None:
    files = [path.relative_to(one) for name in RESULTS for path in (one / name).rglob("*") if path.is_file()]
    assert {file.parts[0] for file in files} == set(RESULTS)
    assert filecmp.cmpfiles(one, other, files, shallow=False)[1:] == ([], [])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 server with an empty bucket named study."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/study", method="PUT"))
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def shared(study, endpoint, tmp_path_factory) -> Path:
    """A folder with a bare repository `hub` and its clone `author`, whose study is on the remote."""
    folder = tmp_path_factory.mktemp("shared")
    # not file by file, because another process may change the study
    done(study, "git", "clone", "--quiet", "--bare", "--no-local", str(study), str(folder / "hub"))
    done(folder, "git", "clone", "--quiet", "hub", "first")
    first = folder / "first"
    done(first, "dvc", "remote", "add", "--default", "loopback", "s3://study/carcls")
    done(first, "dvc", "remote", "modify", "loopback", "endpointurl", endpoint)
    done(first, "git", "commit", "--quiet", "--all", "--message", "a remote")
    done(first, "git", "push", "--quiet")
    author = clone(folder / "hub", folder / "author")
    done(author, "dvc", "cache", "dir", "--local", str(study / ".dvc/cache"))
    done(author, "dvc", "checkout")
    done(author, "dvc", "push")
    return folder


@pytest.fixture(scope="module")
def colleague(shared) -> Path:
    """A new clone with its own cache, after `dvc pull`."""
    folder = clone(shared / "hub", shared / "colleague")
    done(folder, "dvc", "pull")
    return folder


def test_a_fresh_clone_pulls_the_study_and_trains_nothing(shared, colleague):
    assert_same_results(shared / "author", colleague)
    assert ran(colleague, "repro") == WATCHERS
    assert done(colleague, "dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert done(colleague, "git", "status", "--porcelain").stdout == ""


def test_another_model_is_evaluated_without_training_and_shared_with_a_colleague(shared, colleague):
    author = shared / "author"
    looked = ran(author, "exp", "run", "--name", "shallower", "--set-param", "model.arch=resnet18")
    assert looked - WATCHERS == {"variants", "evaluate", "fgsm", "corruptions", "report"}
    done(author, "dvc", "exp", "push", "origin", "shallower")
    done(colleague, "dvc", "exp", "pull", "origin", "shallower")
    difference = done(colleague, "dvc", "metrics", "diff", "HEAD", "shallower").stdout
    assert "test_entropy" in difference and "fgsm_entropy" in difference  # F1 may be equal at this size
    done(colleague, "dvc", "exp", "apply", "shallower")
    assert_same_results(author, colleague)
    assert ran(colleague, "repro") <= WATCHERS


def test_registered_models_are_fetched_by_version_from_a_clone_without_data(shared, tmp_path):
    author = clone(shared / "hub", tmp_path / "author")
    for version, arch in (("v1.0.0", "resnet34"), ("v2.0.0", "resnet18")):
        path = author / "params.yaml"
        path.write_text(re.sub(r"arch: \w+", f"arch: {arch}", path.read_text()))
        done(author, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", arch)
        done(author, "git", "tag", "--annotate", f"classifier@{version}", "--message", arch)
    done(author, "git", "push", "--quiet", "--tags")  # not the branch, which the other tests use
    reader = clone(shared / "hub", tmp_path / "reader")
    for options, variant in (((), "resnet18-pretrained"), (("--rev", "v1.0.0"), "resnet34-pretrained")):
        done(reader, "dvc", "artifacts", "get", ".", "classifier", "--out", variant, *options)
        trained = shared / f"author/models/{variant}.safetensors"
        assert filecmp.cmp(reader / variant, trained, shallow=False)
