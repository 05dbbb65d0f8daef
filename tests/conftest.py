"""Fixtures: the data of a small study, created by the library, and a complete study, created by DVC."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageDraw

from carcls import params
from carcls.base import startup
from carcls.pipeline.augment import augment
from carcls.pipeline.download import download
from carcls.pipeline.split import split

startup.set_up_matplotlib()  # before a test module imports Matplotlib

ROOT = Path(__file__).resolve().parents[1]
# the device for tests of training and attack: `CARCLS_TEST_DEVICE=cuda python -m pytest tests/learning`
DEVICE = os.environ.get("CARCLS_TEST_DEVICE", "cpu")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CODE = "carcls stages cluster dvc.yaml params.yaml .dvcignore .gitignore data models .dvc".split()
SHRUNKEN = {
    ("data", "image_size"): 32,
    ("data", "demo", "train_per_class"): 6,
    ("data", "demo", "test_per_class"): 2,
    ("split", "val"): 0.3333,
    ("augment", "per_class", "train"): 6,
    ("augment", "per_class", "val"): 3,
    ("pretrain", "images_per_class"): 2,
    ("pretrain", "shallow_epochs"): 1,
    ("pretrain", "epochs"): 1,
    ("train", "epochs"): 2,
    ("train", "batch_size"): 32,
    ("train", "precision"): "fp32",
    ("fgsm", "sweep"): [0.0, 0.05],
}

of_the_cpu = pytest.mark.skipif(
    DEVICE != "cpu", reason="its tolerance was measured on the CPU, and is its alone"
)

on_several_machines = pytest.mark.skipif(
    "CARCLS_TEST_MACHINES" not in os.environ, reason="minutes: CARCLS_TEST_MACHINES=1 runs it"
)


def shrunken(changes: dict | None = None) -> params.Params:
    """The committed params.yaml, with sizes that are small enough for tests."""
    content = params.load(ROOT / "params.yaml").model_dump()
    for path, value in (SHRUNKEN | (changes or {})).items():
        section = content
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = value
    return params.Params.model_validate(content)


def copy_project(folder: Path, changes: dict | None = None) -> Path:
    """The project's code in `folder`, with the params of `shrunken`."""
    ignore = shutil.ignore_patterns(
        "__pycache__", "*.tar", "*.csv", "*.safetensors", "tmp", "cache", "images", "weights"
    )
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(shrunken(changes).model_dump()))
    return folder


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=folder, env=surroundings() | environment, capture_output=True, text=True
    )


def start(folder: Path, *command: str, **environment: str) -> subprocess.Popen:
    """Start a command in a process group of its own, so that tests can kill it with its children."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=surroundings() | environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )


def surroundings() -> dict[str, str]:
    """The environment, with the commands of this Python first and without the user's Git configuration."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull}


def draw_shapes(folder: Path, each: int) -> None:
    """Three classes: discs, squares and bars."""
    for name in ("bar", "disc", "square"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = Image.new("RGB", (48, 40), (10 * number % 90, 40, 60))
            x, y, colour = 5 + number % 11, 4 + number % 7, (255, 255 - 7 * number, 90)
            if name == "disc":
                ImageDraw.Draw(image).ellipse((x, y, x + 22, y + 22), fill=colour)
            else:
                height = 22 if name == "square" else 5
                ImageDraw.Draw(image).rectangle((x, y, x + 22, y + height), fill=colour)
            image.save(folder / name / f"{number:02}.png")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that the processes end at about the same time."""
    longest = ["test_stages.py", "test_web.py", "test_remote.py"]  # the first creates the study for the third
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else len(longest))


@pytest.fixture(scope="session", autouse=True)
def set_up() -> None:
    """Configure the process, because a test run is an entry point."""
    startup.set_up()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """data/ of the demo at the size of `shrunken`, up to data/images."""
    root = tmp_path_factory.mktemp("study")
    settings = shrunken()
    download(settings, root)
    split(settings, root)
    augment(settings, root)
    return root / "data"


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A complete study by DVC in its own Git repository, created once for all processes of a test run.

    Only test_stages.py changes files in it; other tests clone it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "study"
    made = folder.with_suffix(".made")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make_study(folder)
            made.touch()
    return folder


def make_study(folder: Path) -> None:
    copy_project(folder)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    run(folder, "git", "init", "--quiet")
    result = run(folder, "dvc", "repro")
    assert result.returncode == 0, result.stderr + result.stdout
    run(folder, "git", "add", "--all")
    assert run(folder, *git, "commit", "--quiet", "--message", "study").returncode == 0


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def raw_index():
    """Makes the csv of a raw archive from (class, split, content) triples."""

    def make(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
        classes = sorted({row[0] for row in rows})
        return pd.DataFrame(
            {
                "name": f"{split or 'all'}/{class_name}/{number:03}.jpg",
                "label": classes.index(class_name),
                "class": class_name,
                "split": split,
                "sha256": content,
                "fingerprint": hashlib.sha256(content.encode()).hexdigest()[:36],
                "group": "",
            }
            for number, (class_name, split, content) in enumerate(rows)
        )

    return make
