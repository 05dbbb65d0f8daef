"""Measure how much bursts raise a validation score if one burst is in both training and validation.

Each training photograph of a TASK (see benchmarks.defaults) becomes a burst of four: itself and three crops,
each moved at random by up to --shift of a side and saved at a JPEG quality of 60 to 80. Three models are
trained. They differ in how their validation images are drawn:

    at random                        split.group_near_duplicates: false
    near-duplicates kept together    the default
    bursts kept together             a table of labels with the column group

The photographs of the test set have no bursts and no near-duplicates in training: their score is what a
validation score should predict. A first table shows how many bursts are recognised as near-duplicates.

    python -m benchmarks.bursts TASK --backbone resnet18.safetensors [--shift 0.01] [--epochs 5]
"""

import argparse
from math import comb
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.common import machine, table
from benchmarks.defaults import make
from carcls.base import startup
from carcls.base.seeds import generator
from carcls.data import copies
from carcls.evaluation.scores import predict, scores
from carcls.files import write_csv
from carcls.imageset.images import decode, encode, fingerprint
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.variant import prepare
from carcls.pipeline.augment import augment
from carcls.pipeline.download import download
from carcls.pipeline.split import split
from carcls.pipeline.weights import weights
from carcls.results.settings import with_overrides

SHIFTS = (0.005, 0.01, 0.02, 0.03)  # of the first table
BURST = 3  # crops of each photograph
WAYS: dict[str, dict] = {
    "at random": {"split.group_near_duplicates": False},
    "near-duplicates kept together": {},
    "bursts kept together": {"data.labels": "labels.csv"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--backbone", type=Path, required=True, help="weights file of a ResNet-18")
    parser.add_argument("--shift", type=float, default=0.01, help="largest move, as a share of a side")
    parser.add_argument("--size", type=int, default=96, help="image side in pixels")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    startup.set_up()
    print(machine(), end="\n\n")
    with TemporaryDirectory() as made:
        folder = Path(made)
        print(make(arguments.task, folder / "photographs", arguments.seed), end="\n\n")
        found = (recognised(folder / "photographs/train", shift, arguments.seed) for shift in SHIFTS)
        table(("move, share of a side", "pairs recognised", "bursts recognised as a whole"), found)
        add_bursts(folder, arguments.shift, arguments.seed)
        columns = ("validation images drawn", "bursts in both", "validation F1", "test F1", "difference")
        table(columns, (measure(way, folder, arguments) for way in WAYS))


def recognised(folder: Path, shift: float, seed: int) -> tuple[str, ...]:
    """A row of the first table: near-duplicates within the burst of each photograph in `folder`."""
    pairs, whole = [], []
    for path in sorted(folder.rglob("*.jpg")):
        images = (decode(data, path.name) for data in burst(path, shift, seed))
        rows = pd.DataFrame({"fingerprint": list(map(fingerprint, images))})
        rows = rows.assign(sha256=rows.index, group="")
        near = copies.near_pairs(rows)
        pairs.append(len(near) / comb(len(rows), 2))
        whole.append(copies.groups(rows, near).nunique() == 1)
    return f"{shift}", f"{np.mean(pairs):.0%}", f"{np.mean(whole):.0%}"


def burst(path: Path, shift: float, seed: int) -> list[bytes]:
    """The photograph `path` and its crops as JPEGs."""
    rng, data = generator(seed, path.parent.name, path.stem), path.read_bytes()
    image = decode(data, path.name)
    return [data, *(encode(_moved(image, shift, rng), int(rng.integers(60, 81))) for _ in range(BURST))]


def add_bursts(folder: Path, shift: float, seed: int) -> None:
    """Write the crops beside the training photographs, and labels.csv with a group for each burst."""
    rows, photographs = [], folder / "photographs"
    for path in sorted((photographs / "train").rglob("*.jpg")):
        crops = [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(BURST))]
        for crop, data in zip(crops, burst(path, shift, seed), strict=True):
            crop.write_bytes(data)
        group = f"{path.parent.name}/{path.stem}"
        rows += [{"image": str(crop.relative_to(photographs)), "class": "", "group": group} for crop in crops]
    write_csv(folder / "labels.csv", rows)


def _moved(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """A crop of `image` (uint8, (h, w, 3)) without twice `shift` of each side."""
    parts = []
    for side in image.shape[:2]:
        margin = round(shift * side)
        start = int(rng.integers(2 * margin + 1))
        parts.append(slice(start, start + side - 2 * margin))
    return np.ascontiguousarray(image[tuple(parts)])


def measure(way: str, folder: Path, arguments: argparse.Namespace) -> tuple[str, ...]:
    """A row of the second table."""
    options = {
        "seed": arguments.seed,
        "weights": str(arguments.backbone),
        "data.image_size": arguments.size,
        "train.epochs": arguments.epochs,
        "split.val": 0.2,
    } | WAYS[way]
    if "data.labels" in options:
        options["data.labels"] = str(folder / options["data.labels"])
    settings = with_overrides(str(folder / "photographs"), options, "The benchmark")
    with TemporaryDirectory() as made:
        work = Path(made)
        for step in (download, split, augment):
            step(settings, work)
        weights(settings, work, settings.model.arch)
        device = resolve_device("auto")
        variant = prepare(settings, work, settings.model.arch, settings.model.config, device)
        for _ in variant.fit():
            pass
        sets = [ArchiveSet(work / f"data/images/{name}.tar") for name in ("val", "test")]
        val, test = (scores(predict(variant.model, images, device), images.labels)["f1"] for images in sets)
        rows = pd.read_csv(work / "data/split.csv").set_index("name")["split"]
        apart = _divided(rows[rows != "test"])
    return way, f"{apart:.0%}", f"{val:.3f}", f"{test:.3f}", f"{val - test:+.3f}"


def _divided(splits: pd.Series) -> float:
    """The share of bursts with images in training and in validation; `splits` by name of the image."""
    bursts = splits.groupby(splits.index.str.removesuffix(".jpg").str.replace(r"-\d$", "", regex=True))
    return float((bursts.nunique() > 1).mean())


if __name__ == "__main__":
    main()
