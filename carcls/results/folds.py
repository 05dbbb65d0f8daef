"""Cross-validation: for each fold, a model that is trained on the other folds and tested on this one."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from carcls.data.split import assign_folds
from carcls.errors import InputError
from carcls.files import write_csv, write_json
from carcls.imageset.archive import read_index
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import check_classes, load_model
from carcls.params import Params
from carcls.pipeline.augment import augment
from carcls.pipeline.chosen import Chosen
from carcls.pipeline.evaluate import Part, test_parts, trained_scores
from carcls.pipeline.split import write_split
from carcls.pipeline.train import train
from carcls.results.known import start_of

NEEDED = ("raw.tar", "raw.csv", "weights")  # data of a training that all folds share


def split_folds(settings: Params, work: Path) -> None:
    """Write data/split.csv, in which all photographs are train, with their folds, and data/copies.csv.

    Raises InputError like `assign_folds`, and if the starting weights were trained on some photographs.
    """
    raw = read_index(work / "data/raw.tar")
    start, before = start_of(settings)
    if raw["sha256"].isin(before.index).any():
        raise InputError(
            f"{start} was trained on some of these images, so that no fold could test them: start from other "
            "weights, or set split.folds to null."
        )
    write_split(work, *assign_folds(raw, settings.split, settings.seed))


def train_folds(settings: Params, work: Path, notify: Callable[[str], None], bar: type[tqdm]) -> None:
    """Train the model of each fold below work/folds, and write data/images/test.* with all photographs.

    A model that exists is not trained again.
    """
    rows = pd.read_csv(work / "data/split.csv", dtype={"class": str}, keep_default_na=False)
    _images(settings, work, work / "folds/all", rows.assign(split="test"))
    for kind in ("tar", "csv"):
        os.replace(work / f"folds/all/data/images/test.{kind}", work / f"data/images/test.{kind}")
    for fold in sorted(rows["fold"].unique()):
        root = work / f"folds/{fold}"
        if not _model(settings, root).exists():
            notify(f"Training without fold {fold} of {settings.split.folds}")
            _images(settings, work, root, rows[rows["fold"] != fold])
            train(settings, root, settings.model.arch, settings.model.config, bar=bar)


def test_folds(settings: Params, work: Path) -> None:
    """Write metrics/test.json and plots/test. The model trained without a fold predicts its photographs."""
    images = ArchiveSet(work / "data/images/test.tar")
    rows = pd.read_csv(work / "data/split.csv", dtype={"class": str}, keep_default_na=False)
    sources = read_index(work / "data/images/test.tar")["source"]
    folds = torch.tensor(rows.set_index("name")["fold"][sources].to_numpy())
    parts = []
    for fold in folds.unique():
        path, places = _model(settings, work / f"folds/{fold}"), torch.nonzero(folds == fold)[:, 0]
        model, info = load_model(path)
        check_classes(path, info, images.classes)
        chosen = Chosen(path, model, info, images, resolve_device(settings.train.device))
        parts.append(Part(chosen, images.select(places), places))
    scores = test_parts(parts, images, work / "plots/test")
    write_json(work / "metrics/test.json", trained_scores(settings, work) | scores)


def _images(settings: Params, work: Path, root: Path, rows: pd.DataFrame) -> None:
    """Write root/data/images of `rows`, with links to the other data of `work`."""
    write_csv(root / "data/split.csv", rows)
    for name in NEEDED:
        link = root / "data" / name
        link.unlink(missing_ok=True)
        link.symlink_to((work / "data" / name).absolute())
    augment(settings, root)


def _model(settings: Params, root: Path) -> Path:
    return root / f"models/{settings.variant}.safetensors"
