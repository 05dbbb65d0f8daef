"""`carcls train` and `carcls evaluate` as a user types them, on a folder of drawn shapes."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT, draw_shapes

from carcls import params
from carcls.cli.program import main
from carcls.errors import InputError
from carcls.imageset.archive import read_index
from carcls.learning import training
from carcls.learning.model import backbone_of, build, load_model, save_backbone
from carcls.results import folder as files
from carcls.results import settings
from carcls.study.wording import score

OPTIONS = [
    *("--no-pretrained", "--image-size", "32", "--epochs", "3", "--batch-size", "8", "--device", "cpu"),
    *("--set", "fgsm.sweep=[0.0]", "--set", "augment.per_class.train=null", "--set", "train.patience=99"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the photographs `shapes` and a training of them, results/first."""
    folder = tmp_path_factory.mktemp("own")
    draw_shapes(folder / "shapes", 16)
    before = os.getcwd()
    os.chdir(folder)
    try:
        main(["train", "shapes", *OPTIONS, "--name", "first"])
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def here(project, monkeypatch):
    monkeypatch.chdir(project)


def start(name: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "carcls.cli", "train", "shapes", *OPTIONS, "--name", name, *options]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def wait_for_epochs(name: str, count: int) -> None:
    history, end = files.RESULTS / name / files.HISTORY, time.monotonic() + 60
    while not (history.exists() and len(pd.read_csv(history)) >= count):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_folder_becomes_a_model_with_its_report():
    folder = Path("results/first")
    left = {path.name for path in folder.iterdir()}
    assert left == {
        *("model.safetensors", "report.html", "metrics.json", "history.csv", "params.yaml", "train.log"),
        *("photographs.csv", "predictions.csv", "test.tar", "test.csv"),
    }
    metrics, used = files.read_metrics(folder), params.load(folder / "params.yaml")
    assert used.train.epochs == 3 and used.model.config == "scratch" and used.data.source == "folder"
    answers = pd.read_csv(folder / "predictions.csv")
    assert metrics["test_accuracy"] == (answers.actual == answers.predicted).mean()
    assert len(answers) == len(read_index(folder / "test.tar"))
    info = load_model(folder / "model.safetensors")[1]
    assert info.classes == ["bar", "disc", "square"] and info.val_f1 == metrics["val_f1"]
    report = (folder / "report.html").read_text()
    for number in (metrics["test_f1"], metrics["fgsm_f1"]):
        assert score(number) in report
    for part in ("Report of first", 'id="training"', 'id="test"', 'id="attack"', "Where the model looks"):
        assert part in report
    assert "paper’s" not in report and "Labels to doubt" not in report
    assert (folder / "train.log").read_text().count("epoch ") >= 3


def test_a_pretrained_training_lists_labels_to_doubt():
    weights = backbone_of(build("resnet18", 3, seed=2).state_dict())
    save_backbone(Path("backbone.safetensors"), weights)
    start = ["--pretrained", "--weights", "backbone.safetensors", "--frozen-layers", "8"]
    main(["train", "shapes", *OPTIONS, *start, "--name", "from-weights"])
    assert params.load(Path("results/from-weights/params.yaml")).model.config == "freeze8"
    doubts = pd.read_csv("results/from-weights/doubts.csv")
    assert (doubts["class"] != doubts.answer).all() and doubts.doubt.is_monotonic_decreasing
    assert all(Path("shapes", name).exists() for name in doubts.photograph)
    report = Path("results/from-weights/report.html").read_text()
    assert "Labels to doubt" in report and "backbone.safetensors" in report


def test_a_killed_training_goes_on_to_the_same_model():
    process = start("again")
    wait_for_epochs("again", 1)
    process.kill()
    process.communicate()
    assert len(pd.read_csv("results/again/history.csv")) < 3
    main(["train", "--resume", "again"])
    whole, again = (Path("results", name, "model.safetensors").read_bytes() for name in ("first", "again"))
    assert whole == again and not Path("results/again/.work").exists()
    with pytest.raises(SystemExit, match="results/again is finished"):
        main(["train", "--resume", "again"])


def test_a_training_that_runs_is_not_trained_by_another_process():
    process = start("busy", "--epochs", "400")
    wait_for_epochs("busy", 1)
    try:
        with pytest.raises(SystemExit, match="results/busy is being trained by another process"):
            main(["train", "--resume", "busy"])
        page = [sys.executable, "-m", "carcls.web.worker", "results/busy"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE  # standard input stays open, as that of a page that runs
        with subprocess.Popen(page, env=environment, stdin=pipe, stderr=pipe, text=True) as worker:
            assert "is being trained by another process" in worker.stderr.read()
        assert worker.returncode == 1
        assert Path("results/busy/.work").exists()
    finally:
        process.kill()
        process.communicate()
    with files.training(Path("results/busy")):  # the killed process holds nothing
        pass


def test_trainings_that_start_together_get_a_folder_each():
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: files.begin_free(settings.preset()), range(24)))
    assert len(set(folders)) == 24 and all((folder / "params.yaml").exists() for folder in folders)
    with pytest.raises(InputError, match="exists: choose another"):
        files.begin(folders[0], settings.preset())


def test_a_full_disk_loses_no_epoch_and_the_message_says_how_to_go_on():
    process = start("full")
    wait_for_epochs("full", 1)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10_000_000, resource.RLIM_INFINITY))
    _, told = process.communicate(timeout=100)
    last = told.decode().splitlines()[-1]
    assert process.returncode == 1 and "Traceback" not in told.decode()
    assert re.match(
        r"error: results/full/\S+: No space is left .*`carcls train --resume full` continues", last
    )
    main(["train", "--resume", "full"])
    log = Path("results/full/train.log").read_text()
    assert "going on after epoch" in log
    whole, again = (Path("results", name, "model.safetensors").read_bytes() for name in ("first", "full"))
    assert whole == again


def test_a_training_that_ran_out_of_memory_goes_on_after_its_last_epoch(monkeypatch):
    def exhausted(*arguments):
        torch.empty(1 << 50) if arguments[2] == 2 else None
        return train_epoch(*arguments)

    train_epoch = training.train_epoch
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_epoch", exhausted)
        with pytest.raises(
            SystemExit, match="Memory ran out .* `carcls train --resume memory` continues after"
        ):
            main(["train", "shapes", *OPTIONS, "--name", "memory"])
    main(["train", "--resume", "memory"])
    assert "going on after epoch 1" in Path("results/memory/train.log").read_text()
    whole, again = (Path("results", name, "model.safetensors").read_bytes() for name in ("first", "memory"))
    assert whole == again


def test_bad_input_leaves_no_work(tmp_path):
    draw_shapes(tmp_path / "damaged", 4)
    (tmp_path / "damaged/disc/00.png").write_bytes(b"")
    with pytest.raises(SystemExit, match="disc/00.png"):
        main(["train", str(tmp_path / "damaged"), *OPTIONS, "--name", "damaged"])
    assert {path.name for path in Path("results/damaged").iterdir()} == {"params.yaml", "train.log"}


def test_the_fewest_images_that_can_be_split_become_a_report(tmp_path):
    """Three a class: one each in train, val and test, and the labels of the first two are searched."""
    draw_shapes(tmp_path / "few", 3)
    save_backbone(Path("few.safetensors"), backbone_of(build("resnet18", 3, seed=2).state_dict()))
    start = ["--pretrained", "--weights", "few.safetensors", "--epochs", "1"]
    main(["train", str(tmp_path / "few"), *OPTIONS, *start, "--name", "few"])
    assert Path("results/few/report.html").exists() and Path("results/few/doubts.csv").exists()


def test_a_model_that_could_not_be_kept_is_kept_when_the_training_is_resumed(monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr("carcls.results.train.write_bytes", full)
        with pytest.raises(SystemExit, match=r"No space is left .*`carcls train --resume unkept` continues"):
            main(["train", "shapes", *OPTIONS, "--name", "unkept"])
    assert not Path("results/unkept/model.safetensors").exists()
    main(["train", "--resume", "unkept"])
    kept, first = (Path("results", name, "model.safetensors").read_bytes() for name in ("unkept", "first"))
    assert kept == first


def test_ctrl_c_keeps_the_best_epoch_and_writes_the_report():
    process = start("stopped", "--epochs", "400")
    wait_for_epochs("stopped", 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    history = pd.read_csv("results/stopped/history.csv")
    _, info = load_model(Path("results/stopped/model.safetensors"))
    assert process.returncode == 0 and len(history) < 400
    assert info.epoch == history.val_f1.idxmax() + 1 and Path("results/stopped/report.html").exists()


def test_evaluate_leaves_out_what_the_model_was_trained_on(capsys):
    draw_shapes(Path("others"), 20)  # the first 16 of each are those of shapes
    shutil.rmtree("others/bar")
    main(["evaluate", "results/first/model.safetensors", "others", "--name", "on-others"])
    told = capsys.readouterr()
    photographs = pd.read_csv("results/first/photographs.csv")
    seen = photographs[(photographs.split != "test") & (photographs["class"] != "bar")]
    answers = pd.read_csv("results/on-others/predictions.csv")
    assert len(answers) == 40 - len(seen) and set(answers.actual) == {"disc", "square"}
    metrics = files.read_metrics(Path("results/on-others"))
    assert f"{metrics['test_accuracy']:.4f}" in told.out
    assert metrics["test_accuracy"] == (answers.actual == answers.predicted).mean()
    report = Path("results/on-others/report.html").read_text()
    assert f"{len(seen)} used to train or select the model" in report and 'id="training"' not in report


def test_evaluate_counts_a_folders_own_test_set_alone():
    draw_shapes(Path("divided/train"), 3)
    draw_shapes(Path("divided/test"), 25)
    main(["evaluate", "results/first/model.safetensors", "divided", "--name", "on-divided"])
    assert set(pd.read_csv("results/on-divided/predictions.csv").actual.value_counts()) <= set(range(9, 26))
    assert json.loads(Path("results/on-divided/metrics.json").read_text()).keys() >= {"test_f1", "test_top5"}


def test_an_installed_package_contains_the_preset():
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "results/*.yaml" in packed["carcls"]
    assert settings.PRESET == ROOT / "carcls/results/photographs.yaml"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "disc").rename(folder / "ring"), "does not have the class 'ring'"),
        (lambda folder: None, "was trained or selected on all images"),
    ],
)
def test_what_cannot_be_evaluated_is_said_and_leaves_nothing(tmp_path, change, says):
    photographs = pd.read_csv("results/first/photographs.csv")
    for name in photographs[photographs.split == "train"]["name"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(Path("shapes", name), tmp_path / name)
    change(tmp_path)
    with pytest.raises(SystemExit, match=re.escape(says)):
        main(["evaluate", "results/first/model.safetensors", str(tmp_path), "--name", "refused"])
    assert not Path("results/refused").exists()
