"""The results folders: one for each model of one's own photographs, below RESULTS where the program runs."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from carcls.errors import InputError
from carcls.files import write_text
from carcls.params import Params

RESULTS = Path("results")
MODEL = "model.safetensors"
PARAMS = "params.yaml"
REPORT = "report.html"
METRICS = "metrics.json"
HISTORY = "history.csv"
PHOTOGRAPHS = "photographs.csv"  # name, label, class, split and sha256 of each
LOG = "train.log"
WORK = ".work"  # what is needed on the way, laid out as the project's own folder; gone at the end
KEPT = {  # of it, under these names
    "data/split.csv": PHOTOGRAPHS,
    "data/images/test.tar": "test.tar",  # the page offers its images as examples
    "data/images/test.csv": "test.csv",
    "plots/test/predictions.csv": "predictions.csv",
    "plots/doubts.csv": "doubts.csv",
}


def new(name: str) -> Path:
    """`name` as a new folder below RESULTS; not made yet. Raises InputError when it is elsewhere or taken."""
    folder = RESULTS / name.strip()
    inside = folder.resolve()
    if RESULTS.resolve() not in inside.parents:
        raise InputError(f"Results are written below {RESULTS.resolve()} only: {name!r} is not there.")
    if any(part.startswith(".") for part in inside.relative_to(RESULTS.resolve()).parts):
        raise InputError(f"The results folder {name!r} would be hidden: choose a name without a leading dot.")
    if folder.exists():
        raise InputError(f"{folder} exists: choose another results folder.")
    return folder


def free_name(stem: str) -> str:
    """The first of STEM-1, STEM-2, ... that is no results folder."""
    number = 1
    while (RESULTS / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def begin(folder: Path, settings: Params) -> None:
    """Make `folder`, which `new` gave, for a training by `settings`."""
    folder.mkdir(parents=True)
    write_text(folder / PARAMS, yaml.safe_dump(settings.model_dump(), sort_keys=False))


def begun(name: str) -> Path:
    """The folder of a training that was cut off. Raises InputError where there is none of that `name`."""
    folder = RESULTS / name.strip()
    if not (folder / PARAMS).is_file():
        raise InputError(f"{folder} is no training that could go on: it has no {PARAMS}.")
    if (folder / REPORT).exists():
        raise InputError(f"{folder} is finished, its report is {folder / REPORT}: train under another name.")
    return folder


def read_metrics(folder: Path) -> dict[str, float]:
    """The scores in `folder`: of training, of the test set (test_*) and under attack (fgsm_*)."""
    return json.loads((folder / METRICS).read_text())


def keep(work: Path, folder: Path) -> None:
    """Move what is kept of `work` into `folder`."""
    for path, name in KEPT.items():
        if (work / path).exists():
            os.replace(work / path, folder / name)


def reports() -> list[Path]:
    """The reports of all results folders, newest first."""
    return newest_first(find(REPORT))


def find(name: str) -> list[Path]:
    """The files called `name` in all results folders; also symlinks whose target is missing."""
    # Path.rglob leaves those out
    found = [Path(folder) / name for folder, _, names in os.walk(RESULTS) if name in names]
    return [path for path in found if WORK not in path.parts]


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """`paths` by their modification time; those without one, such as a symlink to nothing, come last."""

    def key(path: Path) -> tuple[float, Path]:
        try:
            return -path.stat().st_mtime, path
        except OSError:
            return 1, path

    return sorted(paths, key=key)
