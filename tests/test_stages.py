"""The stages as DVC runs them: their dependencies, bad input, and one complete study."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, copy_project, run, shrunken, start
from PIL import Image

from carcls import params
from carcls.errors import InputError
from carcls.learning.model import MEAN, STD, ModelInfo, build_model, save_model

# these check data, write files and create messages. They do not change results, so no stage depends on them
NEUTRAL = {f"carcls/{name}.py" for name in ("errors", "experiment", "files", "params")} | {
    "stages/__init__.py"
}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def imports(path: Path) -> set[str]:
    """The files of the project that the Python file `path` imports, directly or indirectly."""
    found: set[str] = set()
    pending = [path]
    while pending:
        tree = ast.parse(pending.pop().read_text())
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                stem = ROOT / name.replace(".", "/")
                for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                    relative = str(file.relative_to(ROOT))
                    if file.exists() and relative not in found:
                        found.add(relative)
                        pending.append(file)
    return found


def stage(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    return run(folder, sys.executable, "-m", f"stages.{name}", *arguments)


@pytest.fixture
def here(monkeypatch):
    """Call a stage in this process, because starting a new one takes longer than the stage."""

    def call(folder: Path, name: str, *arguments: str) -> None:
        monkeypatch.chdir(folder)
        import_module(f"stages.{name}").main.__wrapped__(*arguments)

    return call


def package(file: str) -> str:
    """The dependency for `file` in dvc.yaml: its package, or the file itself if each stage has a module."""
    room = "/".join(file.split("/")[:2])
    return file if room in ("carcls/pipeline", f"stages/{Path(file).name}") else room


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_exactly_the_packages_it_imports(name):
    imported = imports(ROOT / f"stages/{name}.py") - NEUTRAL | {f"stages/{name}.py"}
    found = {package(file) for file in imported if file.count("/") > 1 or file.startswith("stages/")}
    declared = {dep for dep in STAGES[name]["deps"] if dep.startswith(("carcls/", "stages/"))}
    assert declared == found - {"carcls/pipeline/__init__.py"}


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")))
def test_a_stage_script_is_thin(path):
    assert path.name == "__init__.py" or len(path.read_text().splitlines()) < 40


@pytest.mark.parametrize(
    "name", ["watch_photographs", "watch_weights", "variants", "download", "split", "augment", "report"]
)
def test_stages_without_tensors_do_not_import_torch(name):
    imported = run(ROOT, sys.executable, "-X", "importtime", "-m", f"stages.{name}", "--help")
    assert imported.returncode == 0 and f"usage: stages.{name}" in imported.stdout
    assert "| torch\n" not in imported.stderr


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (shade, 90, 200 - shade)).save(path)


def truncate(folder: Path) -> None:
    path = folder / "photos/b/1.png"
    path.write_bytes(path.read_bytes()[:40])


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder / "photos")


def leave_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "photos/b")


def install_elsewhere(folder: Path) -> None:
    shutil.rmtree(folder / "carcls")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (truncate, r"b/1\.png: .*(damaged|not an image).*data\.skip_unreadable"),
        (remove_folder, r"photos"),
        (leave_one_class, r"class"),
        (install_elsewhere, r"carcls is imported from .*, not from "),
    ],
)
def test_bad_input_gives_one_message_and_no_output(tmp_path, damage, expected):
    copy_project(tmp_path, {("data", "source"): "folder", ("data", "folder"): "photos"})
    for number in range(6):
        picture(tmp_path / f"photos/{'ab'[number % 2]}/{number}.png", 30 * number)
    damage(tmp_path)
    environment = {"PYTHONPATH": str(ROOT)} if damage is install_elsewhere else {}
    result = run(tmp_path, sys.executable, "-m", "stages.download", **environment)
    assert result.returncode == 1
    assert re.fullmatch(rf"error: .*{expected}.*\n", result.stderr), result.stderr
    assert not list((tmp_path / "data").glob("*raw*"))


def test_a_damaged_image_is_named_or_skipped(tmp_path):
    changes = {("data", "source"): "folder", ("data", "folder"): "photos", ("data", "skip_unreadable"): True}
    copy_project(tmp_path, changes)
    for number in range(6):
        picture(tmp_path / f"photos/{'ab'[number % 2]}/{number}.png", 30 * number)
    truncate(tmp_path)
    result = stage(tmp_path, "download")
    assert result.returncode == 0, result.stderr
    assert "skipped: b/1.png" in result.stderr
    assert len(pd.read_csv(tmp_path / "data/raw.csv")) == 5


def test_a_full_disk_gives_one_message(tmp_path):
    copy_project(tmp_path)
    limited = f"ulimit -f 64; trap '' XFSZ; exec {sys.executable} -m stages.download"
    result = run(tmp_path, "bash", "-c", limited)
    assert result.returncode == 1
    assert re.fullmatch(r"error: .*(space|large).*\n", result.stderr), result.stderr
    assert not list((tmp_path / "data").glob("*raw*"))


def test_dvc_detects_changes_of_photographs_and_weights(tmp_path):
    changes = {("data", "source"): "folder", ("data", "folder"): "~/photos", ("weights",): "~/{arch}.pth"}
    copy_project(tmp_path / "project", changes)
    project, home = tmp_path / "project", {"HOME": str(tmp_path)}
    for number in range(20):
        picture(tmp_path / f"photos/{'ab'[number % 2]}/{number}.png", 10 * number)
    torch.save(build_model("resnet18", 3, seed=1).state_dict(), tmp_path / "resnet18.pth")
    run(project, "git", "init", "--quiet")
    targets = ("split", "weights@resnet18")
    result = run(project, "dvc", "repro", *targets, **home)
    assert result.returncode == 0, result.stderr
    assert "changed" not in run(project, "dvc", "status", "--with-deps", *targets, **home).stdout
    assert "Running" not in run(project, "dvc", "repro", *targets, **home).stdout

    picture(tmp_path / "photos/a/new.png", 255)
    torch.save(build_model("resnet18", 3, seed=2).state_dict(), tmp_path / "resnet18.pth")
    status = run(project, "dvc", "status", "--with-deps", *targets, **home).stdout
    assert re.search(r"download:\n\s+changed deps:\n\s+modified:\s+data/watched/photographs", status)
    assert re.search(r"modified:\s+data/watched/weights/resnet18", status)
    result = run(project, "dvc", "repro", *targets, **home)
    ran = set(re.findall(r"Running stage '(.+?)'", result.stdout))
    assert ran == {"download", "split", "weights@resnet18"}
    assert "a/new.png" in set(pd.read_csv(project / "data/split.csv")["name"])
    assert len(list((tmp_path / "photos").rglob("*.png"))) == 21

    (tmp_path / "photos").rename(tmp_path / "moved")
    assert "data/watched/photographs" in run(project, "dvc", "repro", *targets, **home).stderr
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["data"]["folder"] = "~/moved"
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    result = run(project, "dvc", "repro", *targets, **home)
    assert set(re.findall(r"Running stage '(.+?)'", result.stdout)) == {"watch_photographs", "download"}


def copy_study(study: Path, folder: Path, **train: int) -> Path:
    """A copy without Git and DVC, its params with `train` over the section of that name.

    Its models are the study's own files, which nothing changes in place: 500 MB.
    """

    def copy(source: str, target: str) -> None:
        (os.link if source.endswith(".safetensors") else shutil.copy2)(source, target)

    shutil.copytree(study, folder, ignore=shutil.ignore_patterns(".git", ".dvc"), copy_function=copy)
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["train"] |= train
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_stage_declares_every_param_that_it_reads(study, tmp_path, here, monkeypatch):
    """Run each stage with params that record which keys are read."""
    read: set[str] = set()
    names: dict[int, str] = {}  # the key of each section, by its identity

    def name_sections(section: params.Section, name: str) -> None:
        names[id(section)] = name
        for key, value in section.__dict__.items():
            inner = {f"{key}.{item}": each for item, each in value.items()} if isinstance(value, dict) else {}
            for path, each in ({key: value} | inner).items():
                if isinstance(each, params.Section):
                    name_sections(each, f"{name}{path}.")

    def noting(section: params.Section, key: str):
        value = object.__getattribute__(section, key)
        known = id(section) in names  # not a copy that a stage made to change a value
        if known and key in type(section).model_fields and not isinstance(value, params.Section):
            read.add(names[id(section)] + key)
        return value

    copy = copy_study(study, tmp_path / "copy")
    settings = params.load(copy / "params.yaml")
    name_sections(settings, "")
    monkeypatch.setattr(params, "load", lambda *_: settings)
    monkeypatch.setattr(params.Section, "__getattribute__", noting)
    for name, stage in STAGES.items():
        read.clear()
        here(copy, name, *(("resnet18", "freeze8")[: len(stage.get("matrix", ()))]))
        declared = {key.replace("${item.config}", "freeze8") for key in stage["params"]}
        undeclared = {key for key in read if not any(f"{key}.".startswith(f"{own}.") for own in declared)}
        assert undeclared - {"configs"} == set(), name


def test_the_study_leaves_every_output_of_the_graph(study):
    variants = {path.stem for path in (study / "models").glob("*.safetensors")}
    expected = {f"{arch}-{config}" for arch in ("resnet18", "resnet34") for config in shrunken().configs}
    assert variants == expected
    assert {path.stem for path in (study / "metrics/train").glob("*.json")} == expected
    assert {path.stem for path in (study / "plots/history").glob("*.csv")} == expected
    assert not [path for path in study.rglob(".*.tmp")]
    times = (study / "logs/train-resnet18-scratch.log").read_text()
    assert "epoch 2:" in times and re.search(r"took \d+\.\d s", times)


def test_epsilon_zero_of_the_sweep_is_the_clean_test(study):
    clean = json.loads((study / "metrics/test.json").read_text())
    first = pd.read_csv(study / "plots/fgsm/sweep.csv").iloc[0]
    assert first["epsilon"] == 0
    for name in ("f1", "accuracy", "entropy"):
        assert first[name] == pytest.approx(clean[f"test_{name}"], abs=1e-15)


def test_every_variant_is_attacked_on_the_validation_originals(study, tmp_path, here):
    table = pd.read_csv(study / "plots/fgsm/variants.csv")
    assert set(table.variant) == {path.stem for path in (study / "models").glob("*.safetensors")}
    chosen = table[(table.variant == "resnet34-pretrained") & (table.attack == "fgsm")]
    clean = json.loads((study / "metrics/test.json").read_text())["val_f1_originals"]
    assert chosen[chosen.epsilon == 0].f1.item() == pytest.approx(clean, abs=1e-15)
    assert chosen.epsilon.to_list() == [0, 0.01, 0.05]


def test_files_of_another_study_do_not_change_results(study, tmp_path, here):
    copy = copy_study(study, tmp_path / "copy")
    info = ModelInfo("resnet50", "pretrained", ["a", "b"], 32, MEAN, STD, 0.5, 1)
    save_model(copy / "models/resnet50-pretrained.safetensors", build_model("resnet50", 2, seed=1), info)
    (copy / "metrics/train/resnet50-pretrained.json").write_text("{}")
    (copy / "plots/history/resnet50-pretrained.csv").write_text("epoch\n1\n")
    for name in ("robustness", "report"):
        here(copy, name)
    for output in ("plots/fgsm/variants.csv", "report/index.html"):
        assert (copy / output).read_bytes() == (study / output).read_bytes()


def test_the_report_has_the_exact_value_of_every_metric(study):
    page = (study / "report/index.html").read_text()
    for path in ("metrics/test.json", "metrics/fgsm.json"):
        metrics = json.loads((study / path).read_text())
        for name in ("test_f1", "test_accuracy", "test_entropy", "fgsm_f1", "fgsm_accuracy", "fgsm_entropy"):
            if name in metrics:
                assert f'value="{metrics[name]!r}"' in page, name


def test_a_second_repro_does_nothing_and_a_forced_run_gives_equal_bytes(study):
    assert "Running" not in run(study, "dvc", "repro").stdout
    cells = ["weights@resnet34", "train@resnet34-freeze6"]  # not all, which would take minutes
    watched = ["watch_photographs", "watch_weights"]
    names = [
        *watched,
        "variants",
        "download",
        "split",
        "augment",
        *cells,
        "evaluate",
        "fgsm",
        "robustness",
        "report",
    ]
    forced = run(study, "dvc", "repro", "--force", "--single-item", *names)
    assert forced.returncode == 0, forced.stderr
    assert run(study, "git", "status", "--porcelain").stdout == ""


def test_a_killed_training_stage_resumes_to_the_same_bytes(study):
    command = ["dvc", "repro", "--force", "--single-item", "train@resnet18-scratch"]
    history = study / "plots/history/resnet18-scratch.csv"
    history.unlink()
    process = start(study, *command)
    while not history.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (study / "models/resnet18-scratch.safetensors").exists()
    again = run(study, *command)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch 1" in again.stderr
    assert run(study, "git", "status", "--porcelain").stdout == ""
    assert not list((study / ".carcls/checkpoints").iterdir())


def test_a_killed_repeat_resumes_and_the_model_is_that_of_the_first_repeat(study, tmp_path, here):
    copy = copy_study(study, tmp_path / "copy", repeats=3)
    names = [f"{kind}/resnet18-scratch" for kind in ("models", "metrics/train", "plots/history")]
    outs = [next(copy.glob(f"{name}.*")) for name in names]
    here(copy, "train", "resnet18", "scratch")
    whole = [path.read_bytes() for path in outs]
    model, metrics, history = outs
    assert whole[0] == (study / model.relative_to(copy)).read_bytes()
    three, one = (json.loads((folder / metrics.relative_to(copy)).read_text()) for folder in (copy, study))
    assert three.items() >= one.items() and three["val_f1_repeats"][0] == one["val_f1"]
    rows = pd.read_csv(history)
    assert rows["repeat"].to_list() == [1, 1, 2, 2, 3, 3]
    assert rows.groupby("repeat").val_f1.max().to_list() == three["val_f1_repeats"]
    assert len(set(rows.train_loss)) == 6

    for path in outs:
        path.unlink()
    process = start(copy, sys.executable, "-m", "stages.train", "resnet18", "scratch")
    while not (history.exists() and "\n2,1," in history.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = stage(copy, "train", "resnet18", "scratch")
    assert again.returncode == 0, again.stderr
    went_on = re.findall(r"resuming after epoch (\d)", again.stderr)
    assert went_on == ["2", "1"]  # the first is not trained again
    assert [path.read_bytes() for path in outs] == whole
    assert not list((copy / ".carcls/checkpoints").iterdir())


def test_two_processes_train_a_variant_of_the_study(study, tmp_path):
    copy = copy_study(study, tmp_path / "copy", processes=2, repeats=2)
    result = stage(copy, "train", "resnet18", "freeze8")
    assert result.returncode == 0, result.stderr
    one, two = (
        json.loads((folder / "metrics/train/resnet18-freeze8.json").read_text()) for folder in (study, copy)
    )
    assert {key: two[key] for key in one} == pytest.approx(one, rel=1e-3)
    assert two["val_f1_repeats"][0] == two["val_f1"]
    assert pd.read_csv(copy / "plots/history/resnet18-freeze8.csv")["repeat"].to_list() == [1, 1, 2, 2]


def test_plots_show_writes_its_page(study):
    result = run(study, "dvc", "plots", "show")
    assert result.returncode == 0, result.stderr
    page = (study / "dvc_plots/index.html").read_text()
    assert "resnet34-freeze8" in page and "val_loss" in page


def test_a_model_of_other_classes_is_rejected(study, tmp_path, here):
    copy = copy_study(study, tmp_path / "copy")
    for split in ("val", "test"):
        path = copy / f"data/images/{split}.csv"
        path.write_text(path.read_text().replace("Velora", "Zelora"))
    for name in ("evaluate", "fgsm"):
        with pytest.raises(InputError, match="models/.* is not a model of this data"):
            here(copy, name)
