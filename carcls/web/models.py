"""The models that the page offers, and test images to try them on."""

import threading
from functools import lru_cache
from pathlib import Path

from carcls.errors import InputError
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.inference.classifier import Classifier
from carcls.learning.model import read_info
from carcls.results.folder import MODEL, RESULTS
from carcls.study.wording import arch_name

STUDY = Path("models")
EXAMPLES = 12  # test images offered
turn = threading.Lock()  # one model computes at a time: two would fight for the same cores


def paths() -> list[Path]:
    """The model files of the study and of the results folders, newest first."""
    found = [*STUDY.glob("*.safetensors"), *RESULTS.rglob(MODEL)]
    return sorted(found, key=lambda path: (-path.stat().st_mtime, path))


def choices() -> list[tuple[str, str]]:
    """A line about each of `paths`, and its path as text."""
    return [(_describe(path), str(path)) for path in paths()]


def _describe(path: Path) -> str:
    name = path.stem if path.parent == STUDY else str(path.parent)
    try:
        info = read_info(path)
    except InputError:
        return f"{name} · not a model of this project"
    arch = "" if info.arch in name else f" · {arch_name(info.arch)}"
    return f"{name}{arch} · val F1 {info.val_f1:.3f} · {len(info.classes)} classes · {info.image_size} pixels"


def load(choice: str | None) -> Classifier:
    """The model of one of `choices`. Raises InputError for any other path and for a file that is none."""
    path = _known(choice)
    return _load(path, path.stat().st_mtime_ns)


def classes(choice: str | None) -> list[str]:
    """The classes of such a model; none where `load` raises."""
    try:
        return read_info(_known(choice)).classes
    except InputError:
        return []


def _known(choice: str | None) -> Path:
    if choice is None:
        raise InputError("Choose a model first; `dvc repro` or the Train tab makes one.")
    path = Path(choice)
    if path not in paths():
        raise InputError(f"{choice} is not a model of the study or of a results folder.")
    return path


@lru_cache(maxsize=2)
def _load(path: Path, _changed: int) -> Classifier:
    return Classifier.load(path)


def examples(choice: str | None) -> list[tuple[str, str, bytes]]:
    """Name, class and bytes of up to EXAMPLES test images of the model's own data, each of another class.

    Empty where its test set is not there.
    """
    if choice is None:
        return []
    path = Path(choice)
    tar = Path("data/images/test.tar") if path.parent == STUDY else path.with_name("test.tar")
    try:
        index = read_index(tar).drop_duplicates("label")
        shown = min(EXAMPLES, len(index))
        rows = index.iloc[[place * len(index) // shown for place in range(shown)]]
        with ArchiveReader(tar) as reader:
            return [
                (row["name"], row["class"], reader.read(row["offset"], row["size"]))
                for row in rows.to_dict("records")
            ]
    except InputError:
        return []
