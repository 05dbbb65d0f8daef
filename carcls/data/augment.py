"""Class balancing with the nine augmentation operations of the paper (section 3).

Each copy depends only on the seed, the split, the class and its number in the class. The bytes are therefore
the same for any number of processes, and a new class does not change the others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import combinations
from math import e
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from carcls import params
from carcls.base import pool
from carcls.base.seeds import generator
from carcls.base.startup import cores
from carcls.errors import InputError
from carcls.imageset import archive, images
from carcls.imageset.operations import OPERATIONS, ORDERS

COLUMNS = ("label", "class", "source", "operations")
SMALL = 200_000_000  # pixels; smaller sets take less time to write than more processes take to start


class Operation(NamedTuple):
    """One operation with its strengths. str() is its text in the csv, such as `rotate(degrees=-7.31)`."""

    name: str
    strengths: dict[str, float | int | str] = {}

    def __str__(self) -> str:
        if not self.strengths:
            return self.name
        return f"{self.name}({','.join(f'{key}={value}' for key, value in self.strengths.items())})"


def apply(image: np.ndarray, operation: Operation) -> np.ndarray:
    """Apply `operation` to `image` (uint8 RGB, height x width x 3). Returns a new image of the same shape."""
    return OPERATIONS[operation.name](image, **operation.strengths)


# --- The plan: which copies a class gets.


class Class(NamedTuple):
    """What determines the copies of a class: `originals` images become `wanted` images (None: no copies)."""

    seed: int
    split: str
    name: str
    originals: int
    wanted: int | None


def plan(of: Class, original: int, settings: params.Operations) -> list[tuple[Operation, ...]]:
    """For each copy of the `original`-th image of a class, the operations to apply, in order.

    Each round makes one copy per original. Rounds 1 to 9 apply one operation each, so that every original
    gets all nine. Rounds 10 to 18 combine two operations, the next nine three, and so on. Up to round 72,
    two copies of an original differ in their operations. From round 73 on, all nine are applied, with
    different strengths.
    """
    copies = []
    for round_, number in enumerate(range(original, (of.wanted or 0) - of.originals, of.originals)):
        choices = _choices(of.seed, of.split, of.name, min(1 + round_ // 9, 9))
        names = choices[(round_ % 9 + original) % len(choices)]  # neighbouring originals differ
        rng = generator(of.seed, "augment", of.split, of.name, number)
        copies.append(tuple(draw(name, settings, rng) for name in names))
    return copies


@lru_cache(maxsize=32)
def _choices(seed: int, split: str, class_name: str, count: int) -> list[tuple[str, ...]]:
    """All combinations of `count` operations, in a random order for the class."""
    ways = list(combinations(OPERATIONS, count))
    order = generator(seed, "order", split, class_name, count).permutation(len(ways))
    return [ways[i] for i in order]


def draw(name: str, settings: params.Operations, rng: np.random.Generator) -> Operation:
    """The operation `name` with strengths drawn uniformly from the ranges of `settings`.

    Strengths that do not change any grey level, such as a gamma of 1.001, are drawn again, so that a copy
    differs from its original. After 20 such draws, the last one is used.
    """
    for _ in range(20):
        strengths = _strengths(name, settings, rng)
        if _changes_a_grey(name, strengths):
            break
    return Operation(name, strengths)


def _changes_a_grey(name: str, strengths: dict) -> bool:
    """Whether the operation changes one of the 256 grey levels, with rounding of up to half a level."""
    match name:
        case "brightness_contrast":  # the largest change is at black or white
            black = strengths["brightness"]
            return max(abs(black), abs(black + strengths["contrast"])) > 0.5 / 255
        case "gamma":  # the largest change is at 1 / e, by (exponent - 1) / e
            return abs(strengths["exponent"] - 1) > e * 0.5 / 255
        case "rgb_shift":
            return any(strengths.values())
    return True


def _strengths(
    name: str, settings: params.Operations, rng: np.random.Generator
) -> dict[str, float | int | str]:
    """Random strengths, rounded to the digits of the csv, so that the csv describes the operation exactly."""

    def uniform(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    match name:
        case "brightness_contrast":
            limits = settings.brightness_contrast
            return {
                "brightness": uniform(-limits.brightness, limits.brightness),
                "contrast": uniform(-limits.contrast, limits.contrast),
            }
        case "gamma":
            return {"exponent": uniform(settings.gamma.low, settings.gamma.high)}
        case "rotate":
            return {"degrees": uniform(-settings.rotate.degrees, settings.rotate.degrees)}
        case "rgb_shift":
            limit = settings.rgb_shift.limit
            shifts = rng.integers(-limit, limit, 3, endpoint=True).tolist()
            return dict(zip(("red", "green", "blue"), shifts, strict=True))
        case "gauss_noise":
            std = uniform(settings.gauss_noise.std_low, settings.gauss_noise.std_high)
            return {"std": std, "seed": int(rng.integers(2**32))}
        case "channel_shuffle":
            return {"order": ORDERS[rng.integers(len(ORDERS))]}
        case "blur":
            return {"kernel": 3 + 2 * int(rng.integers((settings.blur.kernel - 1) // 2))}
    return {}


# --- The image sets.


class Source(NamedTuple):
    """An original: image `number` of its class. The set stores it as `stem`.jpg, followed by its copies."""

    name: str
    label: int
    offset: int
    size: int
    stem: str
    of: Class
    number: int


class EncodedImage(NamedTuple):
    """An encoded image of a set: the arguments of ArchiveWriter.add."""

    name: str
    data: bytes
    values: dict[str, int | str]


def write_image_sets(
    raw: Path,
    split: pd.DataFrame,
    folder: Path,
    *,
    settings: params.Augment,
    image_size: int,
    seed: int,
    workers: int | None = None,
) -> None:
    """Write folder/{train,val,test}.tar, each with its csv, from the originals in `raw`.

    `split` has the columns name, label, class and split, with one row per image of `raw`. Every original is
    kept, rescaled to image_size x image_size. In train and val, each class gets copies until it has
    settings.per_class images (None: no copies). A copy is in the set of its original. The csv has the columns
    name, label, class, source (the name in `raw`), operations ("" for an original), offset and size.

    `workers` processes share the work (None: one per core, or only this one for a small set). The files are
    created together at the end, or not at all. Raises InputError if an image is missing or damaged.
    """
    rows = _located(split, raw)
    wanted = {"train": settings.per_class.train, "val": settings.per_class.val, "test": None}
    sets = {name: rows[rows["split"] == name] for name in wanted}
    totals = {name: int(_class_sizes(sets[name], wanted[name]).sum()) for name in wanted}
    if workers is None:
        workers = 1 if sum(totals.values()) * image_size**2 < SMALL else cores()
    make = partial(_make, raw, settings, image_size)
    with ExitStack() as stack:
        run = stack.enter_context(pool.in_order(workers))
        for name, originals in sets.items():
            writer = stack.enter_context(archive.create(folder / f"{name}.tar", COLUMNS))
            sources = _sources(originals, wanted[name], seed, name)
            with tqdm(total=totals[name], desc=name, unit="img", disable=None) as bar:
                sizes, kept = _write(writer, run(make, sources), bar)
            _check(sizes, kept, originals, wanted[name])


def _write(
    writer: archive.ArchiveWriter, made: Iterable[Sequence[EncodedImage]], bar: tqdm
) -> tuple[Counter[str], list[str]]:
    """Write the images of each source. Returns the images per class and the names of the originals."""
    sizes: Counter[str] = Counter()
    kept: list[str] = []
    for of_source in made:
        for image in of_source:
            writer.add(image.name, image.data, **image.values)
            sizes[str(image.values["class"])] += 1
            if not image.values["operations"]:
                kept.append(str(image.values["source"]))
        bar.update(len(of_source))
    return sizes, kept


def _located(split: pd.DataFrame, raw: Path) -> pd.DataFrame:
    """`split` with the offset and size of each image in `raw`."""
    index = archive.read_index(raw)[["name", "offset", "size"]]
    rows = split.merge(index, on="name")
    if len(rows) < len(split):
        missing = min(set(split["name"]) - set(index["name"]))
        raise InputError(
            f"{raw} does not contain {missing}: run `dvc repro -f split` to create the split again."
        )
    return rows


def _class_sizes(originals: pd.DataFrame, wanted: int | None) -> pd.Series:
    """The number of images that each class gets in a set, by class name."""
    return originals["class"].value_counts().clip(lower=wanted)


def _sources(originals: pd.DataFrame, wanted: int | None, seed: int, split: str) -> Iterator[Source]:
    """The sources of one set, in the order of their names in the set."""
    folders = {name: name.replace("/", "-") for name in originals["class"].unique()}
    numbers: Counter[str] = Counter()  # per folder, because the classes A/B and A-B share one
    members = dict(iter(originals.sort_values("name").groupby("class")))
    for class_name in sorted(folders, key=lambda name: (folders[name] + "/", name)):
        folder = folders[class_name]
        of = Class(seed, split, class_name, len(members[class_name]), wanted)
        for number, row in enumerate(members[class_name].itertuples()):
            numbers[folder] += 1
            stem = f"{folder}/{numbers[folder]:05}"
            yield Source(row.name, row.label, row.offset, row.size, stem, of, number)


def _make(raw: Path, settings: params.Augment, image_size: int, source: Source) -> list[EncodedImage]:
    """The original and the copies of `source`, in the order of their names."""
    with archive.ArchiveReader(raw) as reader:
        original = images.decode(reader.read(source.offset, source.size), source.name)
    original = images.resize(original, image_size)
    values: dict[str, int | str] = {"label": source.label, "class": source.of.name, "source": source.name}
    made = []
    for i, operations in enumerate([(), *plan(source.of, source.number, settings.operations)]):
        image = original
        for operation in operations:
            image = apply(image, operation)
        name = f"{source.stem}_{i:05}.jpg" if i else f"{source.stem}.jpg"
        text = " ".join(map(str, operations))
        made.append(
            EncodedImage(name, images.encode(image, settings.jpeg_quality), {**values, "operations": text})
        )
    return made


def _check(sizes: Counter, kept: list[str], originals: pd.DataFrame, wanted: int | None) -> None:
    """Check that each original is in the set once and each class has the expected number of images."""
    if sorted(kept) != sorted(originals["name"]):
        raise RuntimeError("the image set does not contain each original exactly once")
    if sizes != _class_sizes(originals, wanted).to_dict():
        raise RuntimeError("a class of the image set does not have the expected number of images")
