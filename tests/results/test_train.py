"""`carcls train` and `carcls evaluate` on a folder of drawn shapes."""

import csv
import errno
import io
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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, draw_shapes
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from carcls import params
from carcls.base.scoring import calibration_error
from carcls.cli.program import main
from carcls.errors import InputError
from carcls.imageset.archive import read_index
from carcls.inference.classifier import Classifier
from carcls.learning import training
from carcls.learning.model import (
    backbone_of,
    build_model,
    load_model,
    read_info,
    save_backbone,
    save_model,
)
from carcls.results import folder as files
from carcls.results import settings
from carcls.results.known import known
from carcls.results.train import train
from carcls.study.wording import score

OPTIONS = [
    *("--no-pretrained", "--image-size", "32", "--epochs", "3", "--batch-size", "8", "--device", "cpu"),
    *("--set", "fgsm.sweep=[0.0]", "--set", "augment.per_class.train=null", "--set", "train.patience=99"),
]
VALIDATED = ["--val", "0.2", "--keep", "best", "--tta", "none"]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the photographs `shapes` and two trainings, results/first and results/validated."""
    folder = tmp_path_factory.mktemp("own")
    draw_shapes(folder / "shapes", 16)
    before = os.getcwd()
    os.chdir(folder)
    try:
        main(["train", "shapes", *OPTIONS, "--name", "first"])
        main(["train", "shapes", *OPTIONS, *VALIDATED, "--name", "validated"])
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


def test_train_writes_model_scores_and_report():
    folder = Path("results/first")
    left = {path.name for path in folder.iterdir()}
    assert left == {
        *("model.safetensors", "report.html", "metrics.json", "history.csv", "params.yaml", "train.log"),
        *("photographs.csv", "predictions.csv", "test.tar", "test.csv", "unusual.csv"),
        *("train.tar", "train.csv", "features.safetensors", "copies.csv", "review.tar", "review.csv"),
    }
    metrics, used = files.read_metrics(folder), params.load(folder / "params.yaml")
    assert used.train.epochs == 3 and used.model.config == "scratch" and used.data.source == "folder"
    answers = pd.read_csv(folder / "predictions.csv")
    assert metrics["test_accuracy"] == (answers.actual == answers.predicted).mean()
    assert len(answers) == len(read_index(folder / "test.tar"))
    info = load_model(folder / "model.safetensors")[1]
    assert info.classes == ["bar", "disc", "square"] and (info.epoch, info.tta) == (3, "flip")
    report = (folder / "report.html").read_text()
    for number in (metrics["test_f1"], metrics["fgsm_f1"]):
        assert score(number) in report
    for part in ("Report of first", 'id="training"', 'id="test"', 'id="attack"', "Where the model looks"):
        assert part in report
    assert "paper’s" not in report and "Possible label errors" not in report
    assert (folder / "train.log").read_text().count("epoch ") >= 3


def test_without_validation_set_all_other_images_are_training_images():
    folder = Path("results/first")
    photographs, metrics = pd.read_csv(folder / "photographs.csv"), files.read_metrics(folder)
    assert set(photographs.split) == {"train", "test"} and len(photographs) == 48
    assert load_model(folder / "model.safetensors")[1].val_f1 is None
    assert not [name for name in metrics if name.startswith("val_")]
    assert pd.read_csv(folder / "history.csv")[["val_loss", "val_loss_std", "val_f1"]].isna().all(axis=None)
    report = (folder / "report.html").read_text()
    assert "there is no validation score: the test scores are the only estimate" in report
    assert "the last epoch is kept" in report and "random horizontal flips" in report
    assert "each prediction is the mean over the image and its mirror image" in report
    for word in ("alidation set", "alidation images", "VL loss", "Best epoch", "early stopping"):
        assert word not in report


def test_report_shows_shortcuts_and_unusual_photographs(tmp_path):
    for name, shade in (("day", 200), ("night", 20)):
        (tmp_path / name).mkdir()
        for number in range(10):
            size = (600, 48) if number == 3 else (60, 48)
            image = Image.effect_noise(size, 30).convert("RGB").point(lambda v, shade=shade: v * shade // 255)
            image.save(tmp_path / f"{name}/{number}.png")
    main(["train", str(tmp_path), *OPTIONS, "--epochs", "1", "--name", "day-and-night"])
    report = Path("results/day-and-night/report.html").read_text()
    [score_, chance] = re.search(
        r"uses only the (?:brightness|sharpness) of a photograph predicts the class with a balanced "
        r"accuracy of ([\d.]+) in cross-validation. Random predictions have a mean balanced accuracy of "
        r"([\d.]+) and",
        report,
    ).groups()
    assert (score_, chance) == ("1.000", "0.500")
    assert "Figure S15" in report and "4 unusual photographs: 2 wide, 2 large" in report
    unusual = pd.read_csv("results/day-and-night/unusual.csv")
    assert set(unusual.photograph) == {"day/3.png", "night/3.png"} and "photograph" in report


def test_validation_set_selects_the_epoch_and_is_not_trained_on():
    folder = Path("results/validated")
    photographs, metrics = pd.read_csv(folder / "photographs.csv"), files.read_metrics(folder)
    history, (_, info) = pd.read_csv(folder / "history.csv"), load_model(folder / "model.safetensors")
    assert set(photographs.split) == {"train", "val", "test"}
    assert (
        info.val_f1 == metrics["val_f1"] == history.val_f1.max() and info.epoch == history.val_f1.idxmax() + 1
    )
    assert metrics["val_f1_originals"] == metrics["val_f1"]
    assert "validation images is" in (folder / "report.html").read_text()


def test_model_is_calibrated_and_threshold_keeps_95_percent_of_held_out_images():
    for name in ("first", "validated"):
        folder = Path("results", name)
        info, answers = read_info(folder / "model.safetensors"), pd.read_csv(folder / "predictions.csv")
        train, features = read_index(folder / "train.tar"), load_file(folder / "features.safetensors")
        assert len(features["features"]) == (train.operations == "").sum()
        assert set(answers.nearest) <= set(train.name)
        report = (folder / "report.html").read_text()
        error = calibration_error(answers.uncalibrated, answers.actual == answers.predicted)
        assert f"Before temperature scaling it was {score(error)}." in report
        assert ("fitted on the validation images" in report) == (name == "validated")
        assert "nearest training image: <b>" in report or (answers.actual == answers.predicted).all()
        kept = answers.novelty.quantile(0.95, "higher")
        assert (info.novelty_threshold == kept) == (name == "first")
        changed = (answers.confidence - answers.uncalibrated).abs() > 1e-4
        assert info.temperature != 1 and changed.any()


def predicted(capsys, *arguments: str) -> list[dict]:
    main(["predict", "results/first/model.safetensors", *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_reject_predicts_none_of_these_for_an_unknown_image(capsys, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    images = ["shapes/disc/03.png", str(tmp_path / "noise.png")]
    info = read_info(Path("results/first/model.safetensors"))
    known, unknown = predicted(capsys, *images)
    assert known["novelty"] <= info.novelty_threshold < unknown["novelty"]
    assert sum(row["probability"] for row in unknown["top"]) == pytest.approx(1)
    assert predicted(capsys, *images, "--reject") == [
        known, unknown | {"top": [{"class": "none of these", "probability": None}]}
    ]  # fmt: skip
    main(["predict", "results/first/model.safetensors", *images, "--reject", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["class"] for row in rows][3:] == ["none of these"]
    assert float(rows[-1]["novelty"]) == unknown["novelty"] and rows[-1]["probability"] == ""
    main(["predict", "results/first/model.safetensors", images[1], "--reject"])
    assert "none of these" in capsys.readouterr().out


def test_reject_without_features_or_threshold_raises_an_error(capsys, tmp_path):
    copy = tmp_path / "model.safetensors"
    shutil.copy("results/first/model.safetensors", copy)
    arguments = ["predict", str(copy), "shapes/disc/03.png"]
    main([*arguments, "--json"])
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["novelty"] is None
    assert answer["top"] == predicted(capsys, "shapes/disc/03.png")[0]["top"]
    with pytest.raises(SystemExit, match=r"features.safetensors is missing, .*: copy it from the results"):
        main([*arguments, "--reject"])
    model, info = load_model(copy)
    save_model(copy, model, replace(info, temperature=None, novelty_threshold=None))
    with pytest.raises(SystemExit, match=r"cannot recognise unknown images: .* train it again"):
        main([*arguments, "--reject"])


def test_onnx_returns_calibrated_logits_and_novelty(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = Path("results/first/model.safetensors")
    main(["export", str(model), str(tmp_path / "model.onnx")])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    about, info = json.loads(session.get_modelmeta().custom_metadata_map["carcls"]), read_info(model)
    assert (about["temperature"], about["novelty_threshold"]) == (info.temperature, info.novelty_threshold)
    classifier, name = Classifier.load(model), "shapes/disc/03.png"
    image = classifier.prepare(Path(name).read_bytes(), name)
    pixels = image.astype(np.float32).transpose(2, 0, 1)[None] / 255
    logits, novelty = session.run(["logits", "novelty"], {"images": pixels})
    answer = classifier.answer(image)
    assert novelty[0] == pytest.approx(answer.novelty, abs=1e-4)
    assert (np.exp(logits) / np.exp(logits).sum()).max() == pytest.approx(answer.top[0][1], abs=1e-4)


def test_keep_best_requires_a_validation_set():
    with pytest.raises(
        SystemExit, match=r"train.keep is best, .* but split.val is null: set split.val to a share"
    ):
        main(["train", "shapes", *OPTIONS, "--keep", "best"])


def test_no_flip_disables_flips_at_prediction():
    asked = {"train.flip": False}
    assert settings.with_overrides("shapes", asked, "x").train.tta == "none"
    assert settings.with_overrides("shapes", asked | {"train.tta": "flip"}, "x").train.tta == "flip"


def test_own_model_can_be_fine_tuned_on_more_photographs_and_classes():
    draw_shapes(Path("more"), 24)  # the first 16 of each class are the same as in shapes
    shutil.copytree("more/disc", "more/ring", ignore=lambda _, names: [name for name in names if name < "12"])
    for path in Path("more/ring").iterdir():
        with Image.open(path) as image:
            image.rotate(90).save(path)
    before = pd.read_csv("results/first/photographs.csv").set_index("sha256").split
    start = ["--pretrained", "--weights", "results/first/model.safetensors", "--epochs", "1"]
    main(["train", "more", *OPTIONS, *start, "--name", "more"])
    after = pd.read_csv("results/more/photographs.csv").set_index("sha256").split
    assert (after[before.index] == before).all()
    fresh = after[after.index.difference(before.index)]
    assert len(fresh) == 3 * 8 + 12 and set(fresh) == {"train", "test"}
    assert load_model(Path("results/more/model.safetensors"))[1].classes == ["bar", "disc", "ring", "square"]
    assert "48 images keep the split that they had" in Path("results/more/train.log").read_text()
    with pytest.raises(SystemExit, match="could be used for testing or validation: add others"):
        main(["train", "shapes", *OPTIONS, *VALIDATED, *start, "--name", "again-validated"])


def test_folds_test_all_photographs_on_models_not_trained_on_them(capsys):
    main(["train", "shapes", *OPTIONS, "--folds", "3", "--epochs", "6", "--name", "folds"])
    folder = Path("results/folds")
    photographs, answers = pd.read_csv(folder / "photographs.csv"), pd.read_csv(folder / "predictions.csv")
    metrics = files.read_metrics(folder)
    assert set(photographs.split) == {"train"} and photographs.fold.value_counts().to_list() == [16, 16, 16]
    assert len(answers) == len(photographs) == len(read_index(folder / "test.tar"))
    assert metrics["test_accuracy"] == (answers.actual == answers.predicted).mean()
    assert f"accuracy {metrics['test_accuracy']:.4f} in cross-validation" in capsys.readouterr().out
    log = (folder / "train.log").read_text()
    assert log.count("32 training and") == 3 and log.count("48 training and") == 1
    report = (folder / "report.html").read_text()
    assert "in 3-fold cross-validation over all 48 photographs" in report and 'id="attack"' not in report
    seen = photographs.drop_duplicates("sha256").set_index("sha256").split
    assert (known(folder / "model.safetensors") == seen).all()
    start = ["--pretrained", "--weights", "results/folds/model.safetensors"]
    with pytest.raises(SystemExit, match="was trained on some of these images, so that no fold could test"):
        main(["train", "shapes", *OPTIONS, *start, "--folds", "3", "--name", "inflated"])
    with pytest.raises(
        SystemExit, match=r"folds is 3, .* but val is 0\.2: set split.folds or split.val to null"
    ):
        main(["train", "shapes", *OPTIONS, "--folds", "3", "--val", "0.2"])


def test_killed_folds_resume_to_the_same_scores():
    process = start("cut", "--folds", "3", "--epochs", "6")
    model, end = Path("results/cut/.work/folds/1/models/resnet18-scratch.safetensors"), time.monotonic() + 120
    while not model.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate()
    main(["train", "--resume", "cut"])
    for name in ("model.safetensors", "predictions.csv", "metrics.json"):
        assert Path("results/folds", name).read_bytes() == Path("results/cut", name).read_bytes()


def test_table_of_labels_is_used_and_saved_with_the_results(tmp_path):
    (tmp_path / "flat").mkdir()
    rows = []
    for path in sorted(Path("shapes").rglob("*.png")):
        shutil.copy(path, tmp_path / "flat" / f"{path.parent.name}-{path.name}")
        rows.append(f"{path.parent.name}-{path.name},{path.parent.name},")
    rows[:3] = ["bar-00.png,exclude,", "bar-01.png,disc,", "bar-02.png,bar,front"]
    (tmp_path / "mine.csv").write_text("\n".join(["image,class,group", *rows]))
    options = [*OPTIONS, "--epochs", "1", "--labels", str(tmp_path / "mine.csv")]
    main(["train", str(tmp_path / "flat"), *options, "--name", "flat"])
    photographs = pd.read_csv("results/flat/photographs.csv").set_index("name")["class"]
    assert photographs.value_counts().to_dict() == {"bar": 14, "disc": 17, "square": 16}
    assert photographs["bar-01.png"] == "disc"
    kept = pd.read_csv("results/flat/labels.csv", keep_default_na=False).set_index("image")
    assert (
        len(kept) == 48
        and kept["class"]["bar-00.png"] == "exclude"
        and kept["group"]["bar-02.png"] == "front"
    )
    with pytest.raises(SystemExit, match=r"flat: images of it are not in class folders|contains no images"):
        main(["train", str(tmp_path / "flat"), *OPTIONS])
    (tmp_path / "mine.csv").write_text("image,class\nelsewhere.png,bar\n")
    with pytest.raises(SystemExit, match=r"has no class folders, and .*mine\.csv names no image in it"):
        main(["train", str(tmp_path / "flat"), *options])


def test_frozen_layers_of_own_model_are_unchanged():
    start = ["--pretrained", "--weights", "results/first/model.safetensors", "--frozen-layers", "8"]
    main(["train", "shapes", *OPTIONS, *start, "--epochs", "1", "--name", "frozen"])
    first, frozen = (
        load_model(Path("results", name, "model.safetensors"))[0] for name in ("first", "frozen")
    )
    for name, tensor in backbone_of(first.state_dict()).items():
        assert torch.equal(tensor, frozen.state_dict()[name]), name


def test_pretrained_training_lists_possible_label_errors():
    weights = backbone_of(build_model("resnet18", 3, seed=2).state_dict())
    save_backbone(Path("backbone.safetensors"), weights)
    start = ["--pretrained", "--weights", "backbone.safetensors", "--frozen-layers", "8"]
    main(["train", "shapes", *OPTIONS, *start, "--name", "from-weights"])
    assert params.load(Path("results/from-weights/params.yaml")).model.config == "freeze8"
    doubts = pd.read_csv("results/from-weights/doubts.csv")
    assert list(doubts) == ["split", "name", "photograph", "class", "answer", "given", "doubt"]
    assert (doubts["class"] != doubts.answer).all() and doubts.doubt.is_monotonic_decreasing
    assert all(Path("shapes", name).exists() for name in doubts.photograph)
    report = Path("results/from-weights/report.html").read_text()
    assert "Possible label errors" in report and "backbone.safetensors" in report


def test_killed_training_resumes_to_the_same_model():
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


def test_resume_rejects_running_training():
    process = start("busy", "--epochs", "400")
    wait_for_epochs("busy", 1)
    try:
        with pytest.raises(SystemExit, match="results/busy is being trained by another process"):
            main(["train", "--resume", "busy"])
        page = [sys.executable, "-m", "carcls.web.worker", "results/busy"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE  # standard input stays open, as if the page were running
        with subprocess.Popen(page, env=environment, stdin=pipe, stderr=pipe, text=True) as worker:
            assert "is being trained by another process" in worker.stderr.read()
        assert worker.returncode == 1
        assert Path("results/busy/.work").exists()
    finally:
        process.kill()
        process.communicate()
    with files.training(Path("results/busy")):  # the killed process does not hold the lock
        pass


def test_train_notifies_of_steps_and_counts_images():
    steps, counted = [], []

    class Bar(tqdm):
        def update(self, n=1):
            counted.append(n)

    folder, asked = files.new("notified"), {"pretrained": False, "data.image_size": 32, "train.epochs": 1}
    files.begin(folder, settings.with_overrides("shapes", asked | {"train.device": "cpu"}, "x"))
    train(folder, steps.append, Bar)
    assert steps == [
        "Reading the photographs",
        "Rescaling and augmenting the images",
        "Preparing the first epoch",
        "Calibrating the model",
        "Testing the model",
        "Attacking the model",
        "Measuring the photographs",
        "Writing the report",
    ]
    trained = (pd.read_csv(folder / "photographs.csv").split == "train").sum()
    assert sum(counted) == trained
    metrics = files.read_metrics(folder)
    assert {"train_f1", "epochs", "test_f1", "fgsm_f1"} <= metrics.keys() and not (folder / ".work").exists()


def test_simultaneous_trainings_get_different_folders():
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: files.begin_free(settings.preset()), range(24)))
    assert len(set(folders)) == 24 and all((folder / "params.yaml").exists() for folder in folders)
    with pytest.raises(InputError, match="exists: choose another"):
        files.begin(folders[0], settings.preset())


def test_interrupted_start_leaves_no_folder(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "write_text", interrupted)
        files.begin(Path("results/early"), settings.preset())
    assert not Path("results/early").exists()
    files.begin(files.new("early"), settings.preset())


def test_training_resumes_after_a_full_disk():
    process = start("full")
    wait_for_epochs("full", 1)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10_000_000, resource.RLIM_INFINITY))
    _, errors = process.communicate(timeout=100)
    last = errors.decode().splitlines()[-1]
    assert process.returncode == 1 and "Traceback" not in errors.decode()
    assert re.match(
        r"error: results/full/\S+: No space is left .*`carcls train --resume full` continues", last
    )
    main(["train", "--resume", "full"])
    log = Path("results/full/train.log").read_text()
    assert "resuming after epoch" in log
    whole, again = (Path("results", name, "model.safetensors").read_bytes() for name in ("first", "full"))
    assert whole == again


def test_training_resumes_after_out_of_memory(monkeypatch):
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
    assert "resuming after epoch 1" in Path("results/memory/train.log").read_text()
    whole, again = (Path("results", name, "model.safetensors").read_bytes() for name in ("first", "memory"))
    assert whole == again


def test_invalid_input_leaves_no_work_folder(tmp_path):
    draw_shapes(tmp_path / "damaged", 4)
    (tmp_path / "damaged/disc/00.png").write_bytes(b"")
    with pytest.raises(SystemExit, match="disc/00.png"):
        main(["train", str(tmp_path / "damaged"), *OPTIONS, "--name", "damaged"])
    assert {path.name for path in Path("results/damaged").iterdir()} == {"params.yaml", "train.log"}


def test_three_images_per_class_are_enough(tmp_path):
    """One is in the test set; the other two are enough to search for label errors."""
    draw_shapes(tmp_path / "few", 3)
    save_backbone(Path("few.safetensors"), backbone_of(build_model("resnet18", 3, seed=2).state_dict()))
    start = ["--pretrained", "--weights", "few.safetensors", "--epochs", "1"]
    main(["train", str(tmp_path / "few"), *OPTIONS, *start, "--name", "few"])
    assert Path("results/few/report.html").exists() and Path("results/few/doubts.csv").exists()


def test_class_and_file_names_may_have_any_character(tmp_path, capsys):
    draw_shapes(tmp_path, 4)
    odd = 'a "disc",\r\nround\rone'
    (tmp_path / "disc").rename(tmp_path / odd)
    (tmp_path / odd / "03.png").rename(tmp_path / odd / 'x\r,"\n.png')
    main(["train", str(tmp_path), *OPTIONS, "--epochs", "1", "--name", "odd"])
    _, info = load_model(Path("results/odd/model.safetensors"))
    assert odd in info.classes and "\r" not in Path("results/odd/history.csv").read_bytes().decode()
    capsys.readouterr()
    main(["predict", "results/odd/model.safetensors", str(tmp_path), "--csv", "--top", "3"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert {row["class"] for row in rows} == set(info.classes)
    assert str(tmp_path / odd / 'x\r,"\n.png') in {row["image"] for row in rows}


def test_resume_saves_a_model_that_could_not_be_written(monkeypatch):
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


def test_ctrl_c_keeps_the_last_epoch_and_writes_the_report():
    process = start("stopped", "--epochs", "400")
    wait_for_epochs("stopped", 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    history = pd.read_csv("results/stopped/history.csv")
    _, info = load_model(Path("results/stopped/model.safetensors"))
    assert process.returncode == 0 and len(history) < 400
    assert info.epoch == len(history) and Path("results/stopped/report.html").exists()


def test_evaluate_skips_images_on_which_the_model_was_trained(capsys):
    draw_shapes(Path("others"), 20)  # the first 16 of each class are the same as in shapes
    shutil.rmtree("others/bar")
    main(["evaluate", "results/first/model.safetensors", "others", "--name", "on-others"])
    output = capsys.readouterr()
    photographs = pd.read_csv("results/first/photographs.csv")
    seen = photographs[(photographs.split != "test") & (photographs["class"] != "bar")]
    answers = pd.read_csv("results/on-others/predictions.csv")
    assert len(answers) == 40 - len(seen) and set(answers.actual) == {"disc", "square"}
    metrics = files.read_metrics(Path("results/on-others"))
    assert f"{metrics['test_accuracy']:.4f}" in output.out
    assert metrics["test_accuracy"] == (answers.actual == answers.predicted).mean()
    report = Path("results/on-others/report.html").read_text()
    assert f"{len(seen)} used to train or select the model" in report and 'id="training"' not in report


def test_evaluate_uses_only_the_test_set_of_a_folder():
    draw_shapes(Path("divided/train"), 3)
    draw_shapes(Path("divided/test"), 25)
    main(["evaluate", "results/first/model.safetensors", "divided", "--name", "on-divided"])
    assert set(pd.read_csv("results/on-divided/predictions.csv").actual.value_counts()) <= set(range(9, 26))
    assert json.loads(Path("results/on-divided/metrics.json").read_text()).keys() >= {"test_f1", "test_top5"}


def test_package_data_contains_the_preset():
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "results/*.yaml" in packed["carcls"]
    assert settings.PRESET == ROOT / "carcls/results/photographs.yaml"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "disc").rename(folder / "ring"), "does not have the class 'ring'"),
        (lambda folder: None, "was trained or selected on all images"),
    ],
)
def test_failed_evaluation_leaves_no_folder(tmp_path, change, expected):
    photographs = pd.read_csv("results/first/photographs.csv")
    for name in photographs[photographs.split == "train"]["name"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(Path("shapes", name), tmp_path / name)
    change(tmp_path)
    with pytest.raises(SystemExit, match=re.escape(expected)):
        main(["evaluate", "results/first/model.safetensors", str(tmp_path), "--name", "refused"])
    assert not Path("results/refused").exists()
