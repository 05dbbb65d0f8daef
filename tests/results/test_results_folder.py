"""Results folders: valid names, files and locks."""

import errno
import os
from pathlib import Path

import pytest

from carcls import params
from carcls.errors import InputError, ResourceError
from carcls.files import CHECKPOINTS
from carcls.results import folder as files
from carcls.results import settings


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun() -> Path:
    """The folder results/a/b of a training that has begun, with a work folder."""
    folder = files.new(" a/b ")
    files.begin(folder, settings.preset())
    (folder / files.WORK).mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_new_folder_is_created_once_with_its_params(begun):
    assert begun == Path("results/a/b") == files.begun(" a/b ")
    assert params.load(begun / "params.yaml") == settings.preset()
    assert (begun / "params.yaml").read_text().startswith("seed:")  # same order as the preset
    for act in (lambda: files.new("a/b"), lambda: files.make(begun)):
        with pytest.raises(InputError, match="results/a/b already exists"):
            act()
    with pytest.raises(InputError, match="results/a cannot be resumed: it has no params.yaml"):
        files.begun("a")


@pytest.mark.parametrize("name", ["", ".", "..", "../out", "/tmp/out", "a/../../out"])
def test_folder_outside_of_results_raises_an_error(name):
    with pytest.raises(InputError, match="is not inside"):
        files.new(name)


@pytest.mark.parametrize("name", [".hidden", "a/.hidden", ".hidden/a"])
def test_hidden_folder_raises_an_error(name):
    with pytest.raises(InputError, match="would be hidden"):
        files.new(name)


def test_free_names_are_numbered_from_one_and_truncated():
    assert files.free_name("resnet18") == "resnet18-1"
    files.RESULTS.mkdir()
    (files.RESULTS / "resnet18-1").symlink_to("gone")
    assert files.begin_free(settings.preset()) == Path("results/resnet18-2")
    assert files.free_name("ä" * 300) == "ä" * 50 + "-1"
    assert files.free_name("a" + "ä" * 300) == "a" + "ä" * 49 + "-1"  # an incomplete character is dropped


def test_finished_training_has_no_work_folder_and_cannot_be_repeated(begun):
    with files.training(begun):
        assert names(begun) == {"params.yaml", ".work", ".lock"}
        with pytest.raises(InputError, match="results/a/b is being trained by another process"):
            with files.training(begun):
                pass
    assert names(begun) == {"params.yaml"}
    (begun / files.REPORT).touch()
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"results/a/b is finished, its report is results/a/b/report.html"
        ):
            with files.training(begun):
                raise AssertionError
        assert names(begun) == {"params.yaml", "report.html"}
        (begun / files.WORK).mkdir()  # left by a process that is killed at the very end


@pytest.mark.parametrize(
    "epoch", [f"{CHECKPOINTS}/resnet18-scratch.pt", "models/resnet18-scratch.safetensors"]
)
def test_work_folder_is_kept_after_an_error_only_if_it_can_be_resumed(begun, epoch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")
    with pytest.raises(ResourceError, match="Then `carcls train --resume a/b` continues.$"):
        with files.training(begun):
            raise full
    assert names(begun) == {"params.yaml"}
    (begun / files.WORK / epoch).parent.mkdir(parents=True)
    (begun / files.WORK / epoch).touch()
    with pytest.raises(ResourceError, match="--resume a/b` continues after the last finished epoch.$"):
        with files.training(begun):
            raise full
    assert names(begun) == {"params.yaml", ".work"} and files.resumable(begun)


@pytest.mark.parametrize("error", [InputError("lower lr"), ZeroDivisionError(), KeyboardInterrupt()])
def test_other_errors_are_raised_unchanged(begun, error):
    (begun / files.WORK).rmdir()
    with pytest.raises(type(error)) as raised, files.training(begun):
        raise error
    assert raised.value is error
    assert names(begun) == {"params.yaml"}


def test_keep_moves_and_renames_files(begun):
    for path in ("data/split.csv", "report/index.html", "data/raw.csv"):
        (begun / files.WORK / path).parent.mkdir(parents=True, exist_ok=True)
        (begun / files.WORK / path).touch()
    files.keep(begun / files.WORK, begun)
    assert names(begun) == {"params.yaml", ".work", "photographs.csv", "report.html"}


def test_reports_follows_links_and_sorts_by_age_with_dangling_links_last(tmp_path):
    for age, name in enumerate(("z", "a", "deep/m")):
        report = files.RESULTS / name / files.REPORT
        report.parent.mkdir(parents=True)
        report.touch()
        os.utime(report, (1000 - age, 1000 - age))
    unfinished = files.RESULTS / "a" / files.WORK / files.REPORT
    unfinished.parent.mkdir()
    unfinished.touch()
    (files.RESULTS / "deep/loop").symlink_to(tmp_path / "results")
    (files.RESULTS / "dangling").mkdir()
    (files.RESULTS / "dangling" / files.REPORT).symlink_to("gone")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / files.REPORT).touch()
    (files.RESULTS / "linked").symlink_to(tmp_path / "elsewhere")
    found = [path.relative_to(files.RESULTS).parent.as_posix() for path in files.reports()]
    assert found == ["linked", "z", "a", "deep/m", "dangling"]
