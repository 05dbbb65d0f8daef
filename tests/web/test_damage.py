"""The page reports damaged or missing files, escapes unusual names, and still shows all other files."""

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

pytest.importorskip("gradio", reason="the extra web is not installed")

from carcls.errors import InputError
from carcls.evaluation.example import AttackSpec
from carcls.inference.classifier import Classifier
from carcls.learning.model import MEAN, STD, ModelInfo, build_model, save_model
from carcls.learning.training import Epoch
from carcls.study import figures
from carcls.web import compare_tab, html, models, predict_tab, records

INFO = ModelInfo("resnet18", "scratch", ["bar", "disc"], 32, MEAN, STD, 0.5, 1)
RESULT = {"val_f1": 0.75, "test_f1": 0.5, "test_accuracy": 0.25, "fgsm_f1": 0.125, "epoch": 3}
TRAINED = {
    **{"val_f1": 0.75, "val_loss": 1.5, "train_f1": 0.875, "train_loss": 0.25},
    **{"epoch": 2, "trainable_parameters": 11},
}
HISTORY = pd.DataFrame([asdict(Epoch(1, 0.1, 1.5, 0.5, 1.25, 0.5, 0.25))])
NAMES = [
    "a#b?c",
    "50% & more",
    "\"q\" 'q' <b>x</b>",
    "línea 中文",
    "two\nlines",
    "back\\slash",
    os.fsdecode(b"\xff"),
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def results_folder(name: str, metrics: bytes | None = json.dumps(RESULT).encode()) -> Path:
    folder = Path("results") / name
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(f"report of {name!a}")
    if metrics is not None:
        (folder / "metrics.json").write_bytes(metrics)
    return folder


def model(path: Path, info: ModelInfo = INFO) -> Path:
    save_model(path, build_model("resnet18", 2, seed=1), info)
    return path


def study(variant: str, metrics: str | None = None, history: str | None = None) -> None:
    for path, text in (
        (Path("metrics/train") / f"{variant}.json", json.dumps(TRAINED) if metrics is None else metrics),
        (
            Path("plots/history") / f"{variant}.csv",
            HISTORY.to_csv(index=False) if history is None else history,
        ),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b'{"val_f1": 0.', "is truncated or not valid JSON"),
        (b"", "is truncated or not valid JSON"),
        (b"[1]", "has [1], which should be an object"),
        (b"{}", "has no test_f1"),
        (json.dumps(RESULT | {"test_f1": float("nan")}).encode(), "has nan as test_f1"),
        (
            json.dumps(RESULT | {"val_f1": "0.5"}).encode(),
            "has &#39;0.5&#39; as val_f1, which should be a valid number",
        ),
        (json.dumps(RESULT | {"epoch": [1]}).encode(), "has [1] as epoch"),
    ],
)
def test_damaged_scores_of_a_results_folder_are_reported(metrics, expected):
    results_folder("good")
    results_folder("broken", metrics)
    page = compare_tab.show()
    [row] = re.findall(r"<tr><td><a[^>]*>good</a>.*?</tr>", page)
    assert re.findall(r"<td>([\d.]+)</td>", row) == ["0.7500", "0.5000", "0.2500", "0.1250", "3"]
    [problem] = re.findall(r'<p class="problem".*?</p>', page)
    assert f"results/broken/metrics.json {expected}" in problem and "restore it" in problem
    assert "nan" not in page.replace(problem, "")


def test_report_with_a_dangling_link_is_reported():
    results_folder("good")
    report = results_folder("copied") / "report.html"
    report.unlink()
    report.symlink_to("/nowhere/report.html")
    page = compare_tab.show()
    assert "results/copied/report.html cannot be read" in page and 'href="report/good"' in page
    assert "report/copied" not in page.replace("results/copied", "")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"metrics": '{"val_f1": 0.7'}, "metrics/train/resnet18-freeze6.json is truncated"),
        ({"metrics": json.dumps(TRAINED).replace("1.5", "NaN")}, "has nan as val_loss"),
        ({"history": ""}, "plots/history/resnet18-freeze6.csv is empty"),
        ({"history": "epoch,loss\n1,2\n"}, "has no column lr: another version of carcls"),
        ({"history": HISTORY.to_csv(index=False)[:-3]}, "is truncated"),
        ({"history": HISTORY.to_csv(index=False)[:-9]}, "not finite numbers"),
        ({"history": HISTORY.assign(val_loss="inf").to_csv(index=False)}, "not finite numbers"),
        ({"history": "\x00\xff\n"}, "has no column"),
    ],
)
def test_damaged_files_of_a_variant_are_reported(changed, expected):
    study("resnet18-scratch")
    study("resnet18-freeze6", **changed)
    page = compare_tab.show()
    assert "<td>ResNet-18 scratch</td><td>0.7500</td><td>1.5000</td>" in page
    [problem] = re.findall(r'<p class="problem".*?</p>', page)
    assert expected in problem and "<code>dvc repro</code>" in problem
    assert 'alt="Validation loss by epoch"' in page


def test_damaged_test_scores_do_not_hide_other_scores(tmp_path):
    study("resnet18-scratch")
    Path("metrics/test.json").write_text('{"test_f1": 0.5, "test_accuracy": 0.5, "test_entropy": 0.5}')
    Path("metrics/fgsm.json").write_text('{"fgsm_f1": 2}')
    page = compare_tab.show()
    assert "Test set, clean" in page and "metrics/fgsm.json has 2 as fgsm_f1" in page


def test_history_without_repeat_column_has_one_repeat(tmp_path):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    HISTORY.to_csv(old, index=False)
    HISTORY.assign(repeat=1).to_csv(new, index=False)
    pd.testing.assert_frame_equal(records.history(old, "x"), records.history(new, "x"))


def test_model_without_validation_shows_its_test_f1():
    folder = results_folder("tested", json.dumps({"test_f1": 0.5, "test_accuracy": 0.25}).encode())
    model(folder / "model.safetensors", replace(INFO, val_f1=None))
    [(line, _)] = models.choices()
    assert "tested" in line and "test F1 0.500" in line and "val F1" not in line
    (folder / "metrics.json").unlink()
    assert "test F1 unknown" in models.choices()[0][0]
    assert "–" in compare_tab.show()


def test_history_may_have_no_validation(tmp_path):
    trained = pd.DataFrame([asdict(Epoch(number, 0.1, 1.5, 0.5)) for number in (1, 2)])
    trained.to_csv(tmp_path / "trained.csv", index=False)
    table = records.history(tmp_path / "trained.csv", "x")
    assert table.val_f1.isna().all() and figures.png(figures.training_curve(table, "loss"))
    trained.assign(val_f1=[0.5, None]).to_csv(tmp_path / "cut.csv", index=False)
    with pytest.raises(InputError, match="not finite numbers"):
        records.history(tmp_path / "cut.csv", "x")


def test_broken_models_are_listed_last():
    good = model(Path("models/good.safetensors"))
    Path("models/gone.safetensors").symlink_to("/nowhere/files/md5/aa/bb")
    Path("models/cut.safetensors").write_bytes(good.read_bytes()[:1000])
    model(Path("models/types.safetensors"), replace(INFO, image_size="big"))
    model(Path("models/nan.safetensors"), replace(INFO, val_f1=float("nan")))
    Path("results/mine").mkdir(parents=True)
    Path("results/mine/model.safetensors").symlink_to("/nowhere/model")
    lines = {value: line for line, value in models.choices()}
    assert set(list(lines)[:2]) == {"models/good.safetensors", "models/nan.safetensors"} and len(lines) == 6
    assert "val F1 unknown" in lines["models/nan.safetensors"]
    for value in list(lines)[2:]:
        assert "broken: " in lines[value] and value in lines[value]
        with pytest.raises(InputError, match=re.escape(value)):
            models.load(value)
    assert "`dvc checkout`" in lines["models/gone.safetensors"]
    assert predict_tab.refresh(None).value in list(lines)[:2]


def test_damaged_test_set_is_reported_and_the_model_still_loads():
    path = model(Path("results/mine/model.safetensors"))
    path.with_name("test.csv").write_text("name,label\nx")
    with pytest.raises(InputError, match="results/mine/test.csv is damaged"):
        models.examples(str(path))
    assert models.load(str(path)).info == INFO


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names_are_escaped_and_link_to_their_report_and_model(name):
    from starlette.testclient import TestClient

    from carcls.web.jobs import Jobs
    from carcls.web.server import create_server

    folder = results_folder(name)
    model(folder / "model.safetensors")
    page = compare_tab.show()
    page.encode()  # raises an error if the page cannot be encoded
    assert "<b>x" not in page
    [address] = re.findall(r'href="(report/[^"]*)"', page)
    assert not set("#?<>\"' \n\\") & set(address)
    with TestClient(create_server(Jobs()), base_url="http://127.0.0.1") as client:
        answer = client.get(f"/{address}")
    assert (answer.status_code, answer.text) == (200, f"report of {name!a}")
    [(line, value)] = models.choices()
    (line + value).encode()
    if name == os.fsdecode(b"\xff"):
        with pytest.raises(InputError, match="rename"):
            models.load(value)
    else:
        assert models.load(value).info == INFO


@pytest.mark.parametrize(
    "asked", [lambda c, i: c.answer(i), lambda c, i: c.attack(i, "x", AttackSpec("fgsm", 0.1), 1)]
)
def test_prediction_that_is_not_finite_raises_an_error(asked):
    network = build_model("resnet18", 2, seed=1)
    nn.init.constant_(network.fc.bias, float("nan"))
    classifier = Classifier(network.eval(), INFO, torch.device("cpu"), Path("m.safetensors"))
    with pytest.raises(InputError, match="not finite numbers"):
        asked(classifier, torch.zeros(32, 32, 3, dtype=torch.uint8).numpy())


def test_unknown_target_class_is_reported_with_similar_names():
    info = replace(INFO, classes=["Audi A4", "BMW M3", "Fiat Panda", "audi a3"])
    classifier = Classifier(build_model("resnet18", 4, seed=1).eval(), info, torch.device("cpu"), Path("m"))
    with pytest.raises(InputError, match="'Audi A4', 'audi a3'"):
        classifier._place("AUDI A4 ")


def test_linked_results_folder_is_listed_once(tmp_path):
    elsewhere = model(tmp_path / "disk/mine/model.safetensors").parent
    Path("results").mkdir()
    Path("results/linked").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(tmp_path / "disk")
    assert [value for _, value in models.choices()] == ["results/linked/model.safetensors"]


def test_only_control_characters_of_values_are_escaped():
    pieces = [
        html.study_report(),
        html.table(["Name"], [["a\nb"]]),
        html.note("`a\nb`"),
        html.done("a\nb", html.report_link("a\nb", "a\nb")),
    ]
    text = [re.sub("<.*?>", "|", piece) for piece in pieces]
    assert [part.count(r"a\x0ab") for part in text] == [0, 1, 1, 2]
    assert r"\x" not in "".join(text).replace(r"a\x0ab", "")
