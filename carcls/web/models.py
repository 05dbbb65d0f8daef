"""The models listed on the page, with test images."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from math import isfinite
from pathlib import Path

import pandas as pd

from carcls.errors import InputError
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.inference.classifier import Classifier
from carcls.learning.model import ModelInfo, read_info
from carcls.results.folder import METRICS, MODEL, find, newest_first
from carcls.study.wording import arch_name
from carcls.web import records
from carcls.web.names import shown

STUDY = Path("models")
EXAMPLES = 12  # number of test images
inference_lock = threading.Lock()  # one prediction at a time, because they use the same cores


def paths() -> list[Path]:
    """The model files of the study and of the results folders, newest first."""
    return newest_first([*STUDY.glob("*.safetensors"), *find(MODEL)])


def choices() -> list[tuple[str, str]]:
    """A description of each of `paths`, and its path as text. Unreadable models come last."""
    described = [(*_describe(path), shown(path)) for path in paths()]
    return [(line, value) for _, line, value in sorted(described, key=lambda choice: choice[0])]


def _describe(path: Path) -> tuple[bool, str]:
    """Whether the model `path` is unreadable, and its description."""
    name = shown(path.stem if path.parent == STUDY else path.parent)
    try:
        _check_readable(path)
    except InputError as error:
        return True, f"{name} · broken: {shown(error)}"
    try:
        info = read_info(path)
    except InputError as error:
        return True, f"{name} · broken: {shown(error)} Train it again, or delete the file."
    arch = "" if info.arch in name else f" · {arch_name(info.arch)}"
    return False, (
        f"{name}{arch} · {score(path, info)} · {len(info.classes)} classes · {info.image_size} pixels"
    )


def score(path: Path, info: ModelInfo) -> str:
    """The validation F1 of the model `path`, or the test F1 if it has no validation F1."""
    name, value = "val F1", info.val_f1
    if value is None:
        name = "test F1"
        with suppress(InputError):
            value = records.scores(path.with_name(METRICS), records.Result, "").test_f1
    known = value is not None and isfinite(value)  # older versions saved it unchecked
    return f"{name} {value:.3f}" if known else f"{name} unknown"


def load(choice: str | None) -> Classifier:
    """Load the model of one of `choices`. Raises InputError for other paths and for invalid files."""
    path = _check_choice(choice)
    return _load(path, _check_readable(path))


def _check_readable(path: Path) -> int:
    """The modification time of `path` in ns. Raises InputError if it cannot be opened."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        if path.is_symlink():
            fix = "restore it, for a model of the study by `dvc checkout`, or delete the link"
            raise InputError(f"{path} links to a missing file: {fix}.") from None
        raise InputError(f"{path} was deleted: choose another model.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None


def classes(choice: str | None) -> list[str]:
    """The classes of one of `choices`; empty if `load` raises."""
    try:
        return read_info(_check_choice(choice)).classes
    except InputError:
        return []


def _check_choice(choice: str | None) -> Path:
    if choice is None:
        raise InputError("Choose a model first. The Train tab or `dvc repro` creates one.")
    path = next((path for path in paths() if shown(path) == choice), None)
    if path is None:
        raise InputError(
            f"{choice} is not a model of the study or of a results folder: choose another model."
        )
    return path


@lru_cache(maxsize=2)
def _load(path: Path, _changed: int) -> Classifier:
    return Classifier.load(path)


def examples(choice: str | None) -> list[tuple[str, str, bytes]]:
    """Name, class and bytes of up to EXAMPLES test images of the model's data set, one per class.

    Empty if the test set is missing. Raises InputError if it is damaged.
    """
    if choice is None:
        return []
    path = _check_choice(choice)
    tar = Path("data/images/test.tar") if path.parent == STUDY else path.with_name("test.tar")

    if not tar.with_suffix(".csv").exists():
        return []
    with _damage_named(tar):
        index = read_index(tar).drop_duplicates("label")
        count = min(EXAMPLES, len(index))
        return _images(tar, index.iloc[[place * len(index) // count for place in range(count)]])


def nearest(choice: str, places: Sequence[int]) -> list[tuple[str, str, bytes]]:
    """Name, class and bytes of the training images at `places`, the indices in `Answer.nearest`.

    Empty if the images are missing. Raises InputError if they are damaged.
    """
    tar = _check_choice(choice).with_name("train.tar")
    csv = tar.with_suffix(".csv")
    if not csv.exists():
        return []
    with _damage_named(tar):
        return _images(tar, _originals(tar, csv.stat().st_mtime_ns).iloc[list(places)])


@lru_cache(maxsize=2)
def _originals(tar: Path, _changed: int) -> pd.DataFrame:
    index = read_index(tar)
    return index[index["operations"] == ""]


def _images(tar: Path, rows: pd.DataFrame) -> list[tuple[str, str, bytes]]:
    """Name, class and bytes of the images in `rows` of the index of `tar`."""
    with ArchiveReader(tar) as reader:
        return [
            (row["name"], row["class"], reader.read(row["offset"], row["size"]))
            for row in rows.to_dict("records")
        ]


@contextmanager
def _damage_named(tar: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, IndexError, OSError, OverflowError, MemoryError):
        raise InputError(f"{tar.with_suffix('.csv')} is damaged: restore it or delete it.") from None
