"""Results folders: one for each model of the user's photographs, in RESULTS of the working directory."""

import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from carcls.errors import InputError, ResourceError, explain
from carcls.files import CHECKPOINTS, FEATURES, write_text
from carcls.params import Params

RESULTS = Path("results")
MODEL = "model.safetensors"
PARAMS = "params.yaml"
REPORT = "report.html"
METRICS = "metrics.json"
HISTORY = "history.csv"
PHOTOGRAPHS = "photographs.csv"  # name, label, class, split and sha256 of each
REVIEW = "review.csv"
LABELS = "labels.csv"  # decisions about photographs, see data/labels.py
LOG = "train.log"
WORK = ".work"  # intermediate files, laid out like the project folder; deleted at the end
LOCK = ".lock"  # held during a training; the system releases it when the process is killed
KEPT = {  # files of WORK that are kept, and their names
    "data/split.csv": PHOTOGRAPHS,
    "data/images/test.tar": "test.tar",  # the page offers its images as examples
    "data/images/test.csv": "test.csv",
    "data/images/train.tar": "train.tar",  # the page shows its images as the nearest training images
    "data/images/train.csv": "train.csv",
    f"data/{FEATURES}": FEATURES,
    "plots/test/predictions.csv": "predictions.csv",
    "plots/test/limits.csv": "predictions.csv",  # the same rows with more columns
    "plots/doubts.csv": "doubts.csv",
    "plots/unusual.csv": "unusual.csv",
    "data/copies.csv": "copies.csv",
    "data/review.tar": "review.tar",  # the images of doubts.csv and copies.csv, for the Labels tab
    "data/review.csv": REVIEW,
    "report/index.html": REPORT,  # last: a results folder with a report is finished
}


def new(name: str) -> Path:
    """The path of a new folder `name` in RESULTS. Raises InputError if it is elsewhere or exists."""
    folder = RESULTS / name.strip()
    inside = folder.resolve()
    if RESULTS.resolve() not in inside.parents:
        raise InputError(
            f"The results folder {name!r} is not inside {RESULTS.resolve()}: choose another name."
        )
    if any(part.startswith(".") for part in inside.relative_to(RESULTS.resolve()).parts):
        raise InputError(f"The results folder {name!r} would be hidden: choose a name without a leading dot.")
    if folder.exists():
        raise InputError(f"{folder} already exists: choose another name.")
    return folder


def free_name(stem: str) -> str:
    """The first of STEM-1, STEM-2, ... that does not exist.

    A long `stem` is truncated, because file systems limit names to 255 bytes or fewer.
    """
    stem = os.fsencode(stem)[:100].decode(errors="ignore")
    number = 1
    while os.path.lexists(RESULTS / f"{stem}-{number}"):
        number += 1
    return f"{stem}-{number}"


def make(folder: Path) -> None:
    """Create `folder`, which `new` returned. Raises InputError if another process has created it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise InputError(f"{folder} already exists: choose another name.") from None


def begin(folder: Path, settings: Params) -> None:
    """Create the folder of a training with its `settings`.

    Raises InputError if another process has created it. The folder is renamed when it is complete, so that a
    kill cannot leave a folder without settings, which would block its name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=folder.parent) as beside:
        complete = Path(beside, "complete")
        complete.mkdir()
        write_text(complete / PARAMS, yaml.safe_dump(settings.model_dump(), sort_keys=False))
        try:
            complete.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise InputError(f"{folder} already exists: choose another name.") from None


def begin_free(settings: Params) -> Path:
    """`begin` the first free folder ARCH-NUMBER. Simultaneous processes get different folders."""
    while True:
        folder = RESULTS / free_name(settings.model.arch)
        try:
            begin(folder, settings)
        except InputError:  # another process was first
            continue
        return folder


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """A context in which only this process trains in `folder`. WORK is deleted at its end.

    After an error, WORK is kept if an epoch has finished, so that the training can be resumed. The message of
    a memory or disk error contains the command for it. Raises InputError if another process trains in
    `folder`, or if the training is finished.
    """
    from filelock import FileLock, Timeout  # only a training needs it

    try:
        lock = FileLock(folder / LOCK, blocking=False).acquire()
    except Timeout:
        raise InputError(
            f"{folder} is being trained by another process: wait until it ends, or use another name."
        ) from None
    with lock:
        if (folder / REPORT).exists():
            shutil.rmtree(
                folder / WORK, ignore_errors=True
            )  # left by a process killed after it moved the report
            (folder / LOCK).unlink(missing_ok=True)
            raise InputError(
                f"{folder} is finished, its report is {folder / REPORT}: use another name to train again."
            )
        try:
            yield
            shutil.rmtree(folder / WORK)
        except BaseException as error:
            trained = resumable(folder)
            if not trained:
                shutil.rmtree(folder / WORK, ignore_errors=True)
            message = explain(error)
            if message is None or type(error) is InputError:
                raise
            after = " after the last finished epoch" if trained else ""
            command = f"carcls train --resume {shlex.quote(str(folder.relative_to(RESULTS)))}"
            raise ResourceError(f"{message} Then `{command}` continues{after}.") from error
        finally:
            (folder / LOCK).unlink(missing_ok=True)


def begun(name: str) -> Path:
    """The folder of the interrupted training `name`. Raises InputError if it contains no training."""
    folder = RESULTS / name.strip()
    if not (folder / PARAMS).is_file():
        raise InputError(
            f"{folder} cannot be resumed: it has no {PARAMS}. Delete the folder and train again."
        )
    return folder


def resumable(folder: Path) -> bool:
    """Whether the training in `folder` has finished an epoch, so that it can be resumed."""
    kept = (f"**/{CHECKPOINTS}/*.pt", "**/models/*.safetensors")  # ** matches the folders of folds
    return any(path for pattern in kept for path in (folder / WORK).glob(pattern))


def read_metrics(folder: Path) -> dict[str, float]:
    """The scores in `folder`: of training, on the test set (test_*) and under attack (fgsm_*)."""
    return json.loads((folder / METRICS).read_text())


def keep(work: Path, folder: Path) -> None:
    """Move the files of KEPT from `work` to `folder`."""
    for path, name in KEPT.items():
        if (work / path).exists():
            os.replace(work / path, folder / name)


def reports() -> list[Path]:
    """The reports of all results folders, newest first."""
    return newest_first(find(REPORT))


def find(name: str) -> list[Path]:
    """The files called `name` in all results folders; also symlinks whose target is missing."""
    found, seen = [], set()
    # Path.rglob skips symlinks to folders and symlinks whose target is missing
    for folder, inside, names in os.walk(RESULTS, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or Path(folder).name == WORK:
            inside.clear()
        elif name in names:
            found.append(Path(folder) / name)
        seen.add(real)
    return found


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """`paths` by modification time, newest first. Dangling symlinks, which have none, come last."""

    def key(path: Path) -> tuple[float, Path]:
        try:
            return -path.stat().st_mtime, path
        except OSError:
            return 1, path

    return sorted(paths, key=key)
