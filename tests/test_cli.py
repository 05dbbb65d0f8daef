"""The command line as a user types it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from carcls.cli import predict as predicting
from carcls.cli import program as cli
from carcls.cli import sort as sorting
from carcls.evaluation.example import AttackSpec
from carcls.evaluation.scores import predict
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.inference.classifier import Classifier
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import IMAGENET, MEAN, STD, ModelInfo, build_model, load_model, save_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def test_set(data):
    return ArchiveSet(data / "images/test.tar")


@pytest.fixture(scope="module")
def model(tmp_path_factory, test_set):
    """A model of the demo's classes. BatchNorm has the statistics of images, so that predictions differ."""
    path = tmp_path_factory.mktemp("models") / "resnet18-scratch.safetensors"
    network = build_model("resnet18", 12, seed=1)
    network.train()(test_set.read(range(len(test_set))).float() / 255)
    save_model(path, network, ModelInfo("resnet18", "scratch", test_set.classes, 32, MEAN, STD, 0.5, 3))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, data, test_set):
    """The first four test images as files, two of them in a subfolder, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    index = read_index(data / "images/test.tar")
    with ArchiveReader(data / "images/test.tar") as reader:
        for row, name in zip(index.itertuples(), ("a", "more/b", "more/c", "d"), strict=False):
            (folder / f"{name}.jpg").write_bytes(reader.read(row.offset, row.size))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_gets_the_predictions_of_the_evaluate_stage(model, pictures, test_set, capsys):
    cli.main(["predict", str(model), str(pictures), "--json"])
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"][len(str(pictures)) + 1 :] for answer in answers] == [
        "a.jpg",
        "d.jpg",
        "more/b.jpg",
        "more/c.jpg",
    ]
    places = [0, 3, 1, 2]
    expected = predict(load_model(model)[0], test_set, CPU)[places].softmax(1)
    for answer, probabilities in zip(answers, expected, strict=True):
        for row in answer["top"]:
            place = test_set.classes.index(row["class"])
            assert row["probability"] == pytest.approx(probabilities[place].item(), abs=1e-6)
        shown = [row["probability"] for row in answer["top"]]
        assert len(shown) == 12 and shown == sorted(shown, reverse=True)


def test_any_file_name_is_printed_under_any_locale(model, pictures, tmp_path):
    names = ["caf\udce9.jpg", "new\nline.jpg", "轿车.jpg"]
    for name in names:
        (tmp_path / name).write_bytes((pictures / "a.jpg").read_bytes())
    command = [sys.executable, "-m", "carcls.cli", "predict", model, *(tmp_path / name for name in names)]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    table = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    headings = [line for line in table.decode("latin-1").splitlines() if not line.startswith(" ")]
    assert [heading.rpartition("/")[2] for heading in headings] == [
        r"caf\udce9.jpg", r"new\nline.jpg", r"\u8f7f\u8f66.jpg"
    ]  # fmt: skip
    output = subprocess.run([*command, "--json"], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert [answer["image"].rpartition("/")[2] for answer in json.loads(output.stdout)] == names


def test_a_csv_has_the_top_classes_of_every_image(model, pictures, capsys, monkeypatch):
    monkeypatch.setattr(predicting, "BATCH", 3)  # so that four images need two batches
    cli.main(["predict", str(model), str(pictures), "--csv", "--top", "2"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2"] * 4
    cli.main(["predict", str(model), str(pictures / "d.jpg"), "--json"])
    [alone] = json.loads(capsys.readouterr().out)
    first = next(row for row in rows if row["image"] == alone["image"])
    assert first["class"] == alone["top"][0]["class"]
    assert float(first["probability"]) == pytest.approx(alone["top"][0]["probability"], abs=1e-5)


def test_look_writes_a_heat_map_of_each_image(model, pictures, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    shutil.copy(pictures / "d.jpg", tmp_path / "other/a.jpg")
    images = [str(pictures / "a.jpg"), str(tmp_path / "other/a.jpg")]
    cli.main(["predict", str(model), *images, "--look", str(tmp_path / "looked"), "--csv", "--top", "1"])
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3 and "Grad-CAM of layer2" in printed.err  # 32 pixels
    names = sorted(path.name for path in (tmp_path / "looked").iterdir())
    assert names == ["a-2.jpg", "a.jpg"]
    first, second = (Image.open(tmp_path / "looked" / name) for name in names)
    assert first.size == (32, 32) and first.tobytes() != second.tobytes()


def test_attack_draws_figure_5_and_prints_the_predictions(model, pictures, tmp_path, capsys):
    out = tmp_path / "attacked.png"
    images = [str(pictures / "a.jpg"), str(pictures / "d.jpg")]
    cli.main(["attack", str(model), *images, "--epsilon", "0.05", "--out", str(out)])
    first, second, written = capsys.readouterr().out.splitlines()
    assert written == str(out) and Image.open(out).width > 1000
    cli.main(["predict", str(model), *images, "--json", "--top", "1"])
    answers = json.loads(capsys.readouterr().out)
    for line, answer in zip((first, second), answers, strict=True):
        assert line.startswith(f"{Path(answer['image']).name}: {answer['top'][0]['class']} ")
    with pytest.raises(SystemExit, match="at most 20 rows, but there are 21 images"):
        cli.main(["attack", str(model), *images[:1] * 21])


def test_attack_accepts_a_target_and_predicts_on_the_rounded_image(model, pictures, tmp_path, capsys):
    target = load_model(model)[1].classes[-1]
    attack = ["attack", str(model), str(pictures / "a.jpg"), "--out", str(tmp_path / "attacked.png")]
    pgd = ["--attack", "pgd", "--steps", "5", "--target", target]
    cli.main([*attack, *pgd, "--epsilon", "0.05"])
    _, aimed, _ = capsys.readouterr().out.splitlines()
    assert aimed.startswith(f"a.jpg: target {target} ")
    was, became = re.findall(r"0\.\d{4}", aimed)
    assert float(became) > float(was)
    classifier = Classifier.load(model)
    image = classifier.prepare((pictures / "a.jpg").read_bytes(), "a.jpg")
    under_half_a_step = AttackSpec("pgd", 0.49 / 255, target=target)
    result = classifier.attack(image, "a.jpg", under_half_a_step, seed=1)
    assert (result.row.adversarial == result.row.original).all() and result.row.after == result.row.before
    assert result.unrounded[1] != result.row.before[0][1]


def test_the_table_ranks_classes_and_skips_unreadable_images(model, pictures):
    (pictures / "empty").mkdir()
    images = [pictures / name for name in ("notes.txt", "empty", "a.jpg", "none.jpg")]
    command = [sys.executable, "-m", "carcls.cli", "predict", model, *images]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    first, second, third = result.stderr.splitlines()
    assert first.startswith(f"error: {pictures}/notes.txt: not a supported image")
    assert second == f"error: {pictures}/empty contains no images: name an image or a folder of images."
    assert third == f"error: {pictures}/none.jpg cannot be read: No such file or directory."
    heading, *rows = result.stdout.splitlines()
    assert heading == f"{pictures}/a.jpg"
    assert [int(row.split()[0]) for row in rows] == list(range(1, 13))


@pytest.mark.parametrize("link", [False, True])
def test_sort_copies_every_image_into_a_class_folder(model, pictures, tmp_path, capsys, link):
    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    (photos / "more/a.jpg").write_bytes((photos / "a.jpg").read_bytes())  # the same name and class
    (photos / "broken.jpg").write_text("no image")
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    answers = Classifier.load(model)
    images = [path for path in sorted(before) if path.name != "broken.jpg"]
    first = {path: answers.answer(answers.prepare(before[path], "")).top[0] for path in images}
    threshold = sorted(probability for _, probability in first.values())[2]
    options = ["--min-probability", f"{threshold - 1e-5:.9f}", *(["--link"] if link else [])]
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(model), str(photos), "--sort", str(tmp_path / "sorted"), *options])
    assert ended.value.code.startswith(f"error: {photos}/broken.jpg: not a supported image")
    uncertain = sum(probability < threshold for _, probability in first.values())
    assert uncertain and f", {uncertain} with a probability below" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "sorted/predictions.csv").open()))
    assert {row["image"] for row in rows} == {str(path) for path in images}
    for row in rows:
        copy, (name, probability) = tmp_path / "sorted" / row["file"], first[Path(row["image"])]
        assert copy.read_bytes() == before[Path(row["image"])] and copy.is_symlink() == link
        assert row["class"] == name and float(row["probability"]) == pytest.approx(probability, abs=1e-6)
        assert copy.parent.name == (name if probability >= threshold else "uncertain")
    left = {path for path in (tmp_path / "sorted").rglob("*") if not path.is_dir()}
    assert len(left) == len({row["file"] for row in rows}) + 1 == len(images) + 1
    assert {path: path.read_bytes() for path in photos.rglob("*.jpg")} == before


def test_sort_overwrites_no_file_and_reports_a_full_disk(model, pictures, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit, match="mine exists: name a new folder"):
        cli.main(["predict", str(model), str(pictures / "a.jpg"), "--sort", str(tmp_path / "mine")])
    with pytest.raises(SystemExit, match="add --sort"):
        cli.main(["predict", str(model), str(pictures / "a.jpg"), "--link"])
    command = (
        f"ulimit -f 0; {sys.executable} -m carcls.cli predict {model} {pictures}/a.jpg --sort {tmp_path}/new"
    )
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    [line] = result.stderr.splitlines()
    assert (
        result.returncode == 1 and line.startswith(f"error: {tmp_path}/new/") and "No space is left" in line
    )
    assert not list(tmp_path.rglob("*.jpg"))


def test_sort_does_not_use_class_names_as_paths(model, pictures, tmp_path):
    network, info = load_model(model)
    names = ["..", "../x", "/etc", "uncertain", *info.classes[4:]]
    save_model(tmp_path / "odd.safetensors", network, replace(info, classes=names))
    sort = ["--sort", str(tmp_path / "sorted"), "--min-probability", "0"]
    cli.main(["predict", str(tmp_path / "odd.safetensors"), str(pictures), *sort])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.safetensors", "sorted"]
    folders = {name: sorting._folder_name(name) for name in names}
    assert all(Path(name).name == name and name not in (".", "..") for name in folders.values())


def test_links_in_a_folder_are_followed_and_unreadable_files_are_named(model, pictures, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "linked").symlink_to(pictures)
    (folder / "up").symlink_to(".")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    (folder / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(model), str(folder), "--csv", "--top", "1"])
    output, left_out = capsys.readouterr()
    answered = [row["image"].removeprefix(f"{folder}/linked/") for row in csv.DictReader(output.splitlines())]
    assert answered == ["a.jpg", "d.jpg", "more/b.jpg", "more/c.jpg"]
    assert ended.value.code.splitlines() == [
        f"error: {folder}/gone cannot be read: No such file or directory.",
        f"error: {folder}/pipe.jpg cannot be read: it is not a regular file.",
        f"error: {folder}/self.jpg cannot be read: Too many levels of symbolic links.",
    ]
    assert "skipped: 1 .txt" in left_out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["predict", "none.safetensors", "a.jpg"], "none.safetensors is missing"),
        (["predict", "{pictures}/notes.txt", "a.jpg"], "notes.txt is not a model that this project trained"),
        (["predict", "{pictures}", "a.jpg"], "is a folder: name the file in it"),
        (["predict", "{model}", "{pictures}/../{pictures.name}-none"], "cannot be read"),
        (["export", "none.safetensors"], "none.safetensors is missing"),
        (["train"], "Name a folder"),
        (["train", "none"], "none does not exist"),
        (["train", "{pictures}"], "contains only one class"),
        (["train", "{pictures}", "--resume", "any"], "--resume continues with the settings of that training"),
        (["train", "--resume", "any"], "results/any cannot be resumed"),
        (["evaluate", "none.safetensors", "{pictures}"], "none.safetensors is missing"),
        (["evaluate", "{model}", "none"], "none does not exist"),
        (["evaluate", "{model}", "{pictures}", "--set", "trian.lr=1"], "no key trian.lr"),
        (["evaluate", "{model}", "{pictures}", "--set", "lr"], "--set lr has no =: write KEY=VALUE"),
        (["attack", "{model}", "{pictures}/notes.txt"], "not a supported image"),
        (
            ["attack", "{model}", "{pictures}/a.jpg", "--epsilon", "2"],
            "Epsilon must be a number from 0 to 1, not 2.0",
        ),
        (
            ["attack", "{model}", "{pictures}/a.jpg", "--attack", "pgd", "--steps", "0"],
            "PGD steps must be a positive integer, not 0",
        ),
        (["attack", "{model}", "{pictures}/a.jpg", "--steps", "5"], "add --attack pgd"),
        (
            ["attack", "{model}", "{pictures}/a.jpg", "--attack", "noise", "--target", "x"],
            "cannot have a target",
        ),
        (
            ["attack", "{model}", "{pictures}/a.jpg", "--target", "velora monte"],
            "the class 'velora monte': the nearest of its 12 are 'Velora Monte SUV 2012', ",
        ),
    ],
)
def test_bad_arguments_give_one_message(model, pictures, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main([argument.format(model=model, pictures=pictures) for argument in arguments])
    message = ended.value.code  # which Python prints, and exits with status 1
    assert message.startswith("error: ") and expected in message
    assert len(message.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_help_imports_neither_torch_nor_gradio():
    paid = "{'torch', 'gradio', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, carcls.cli.program; sys.exit(bool({paid}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_onnx_runtime_gives_the_same_logits(model, tmp_path, test_set, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    cli.main(["export", str(model), str(path)])
    assert capsys.readouterr().out.splitlines()[-1] == str(path) and list(tmp_path.iterdir()) == [path]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["carcls"])
    assert metadata["classes"] == test_set.classes and metadata["image_size"] == 32
    assert (
        metadata["input"]["normalisation"] == "in the graph"
        and "mean" not in metadata
        and "std" not in metadata
    )
    pixels = test_set.read(range(len(test_set)))
    expected = predict(load_model(model)[0], test_set, CPU).numpy()
    for count in (1, len(test_set)):
        images = np.ascontiguousarray(pixels[:count].float().numpy() / 255)
        [logits] = session.run(["logits"], {"images": images})
        assert np.abs(logits - expected[:count]).max() < 1e-3
        assert (logits.argmax(1) == expected[:count].argmax(1)).all()


def test_an_exported_model_normalises_and_mirrors_as_predict_does(model, tmp_path, test_set):
    onnxruntime = pytest.importorskip("onnxruntime")
    network, info = load_model(model)
    info = replace(info, mean=IMAGENET.mean, std=IMAGENET.std, tta="flip", val_f1=None)
    save_model(tmp_path / "mirrored.safetensors", network, info)
    cli.main(["export", str(tmp_path / "mirrored.safetensors"), str(tmp_path / "model.onnx")])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["carcls"])
    assert metadata["input"]["normalised_by"] == {"mean": list(IMAGENET.mean), "std": list(IMAGENET.std)}
    assert metadata["tta"] == "flip, in the graph" and metadata["val_f1"] is None
    images = test_set.read(range(len(test_set))).float().numpy() / 255
    [logits] = session.run(["logits"], {"images": np.ascontiguousarray(images)})
    expected = predict(load_model(tmp_path / "mirrored.safetensors")[0], test_set, CPU).numpy()
    assert np.abs(logits - expected).max() < 1e-3
    assert np.abs(expected - predict(load_model(model)[0], test_set, CPU).numpy()).max() > 1e-2
    assert np.allclose(np.exp(expected).sum(1), 1, atol=1e-5)


def test_an_exported_model_loads_in_onnx_runtime_1_14(model, tmp_path):
    onnx = pytest.importorskip("onnx")
    cli.main(["export", str(model), str(tmp_path / "model.onnx")])
    exported = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(exported, full_check=True)
    assert [entry.version for entry in exported.opset_import] == [18] and exported.ir_version == 8


def test_predictions_are_printed_if_heat_maps_cannot_be_written(model, pictures, tmp_path):
    (tmp_path / "file").touch()
    images = [pictures / "a.jpg", pictures / "d.jpg"]
    command = [sys.executable, "-m", "carcls.cli", "predict", model, *images, "--look", tmp_path / "file"]
    result = subprocess.run([*command, "--csv", "--top", "1"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and len(result.stdout.splitlines()) == 3
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/file: File exists")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("> /dev/full", "standard output: No space is left"),
        (">&-", "Standard output is closed"),
    ],
)
def test_an_unwritable_standard_output_is_named(model, pictures, output, expected, unbuffered):
    command = f"{sys.executable} -m carcls.cli predict {model} {pictures}/a.jpg {output}"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    result = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {expected}")


@pytest.mark.parametrize("command", ["predict", "attack"])
def test_probabilities_that_are_not_finite_are_an_error(model, pictures, tmp_path, command, capsys):
    network, info = load_model(model)
    network.fc.weight.data[0, 0] = torch.nan
    save_model(tmp_path / "diverged.safetensors", network, info)
    out = [] if command == "predict" else ["--out", str(tmp_path / "attacked.png")]
    with pytest.raises(SystemExit, match=r"diverged\.safetensors gives probabilities that are not finite"):
        cli.main([command, str(tmp_path / "diverged.safetensors"), str(pictures / "a.jpg"), *out])
    assert "nan" not in capsys.readouterr().out and len(list(tmp_path.iterdir())) == 1


def test_a_photograph_is_prepared_as_the_augment_stage_prepares_it(model, tmp_path, rng):
    from carcls.inference.classifier import Classifier

    photograph = rng.integers(0, 255, (50, 70, 3), np.uint8)
    prepared = Classifier.load(model).prepare(cv2.imencode(".png", photograph)[1].tobytes(), "p.png")
    expected = cv2.resize(photograph[..., ::-1], (32, 32), interpolation=cv2.INTER_AREA)
    assert np.array_equal(prepared, expected)


def test_the_example_of_the_docs_gives_the_prediction_of_the_command_line(
    model, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[0:150, 0:200]
    Image.fromarray(np.stack([x, y, (x + y) // 2], 2).astype(np.uint8)).save("car.jpg", quality=95)
    cli.main(["export", str(model), "models/resnet34-pretrained.onnx"])
    cli.main(["predict", str(model), "car.jpg", "--json", "--top", "1"])
    [answer] = json.loads(capsys.readouterr().out.partition("\n")[2])
    code, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/web.md").read_text(), re.DOTALL)
    exec(code, {})
    name, _, probability = capsys.readouterr().out.strip().rpartition(" ")
    assert name == answer["top"][0]["class"]
    assert float(probability) == pytest.approx(answer["top"][0]["probability"], abs=0.01)
