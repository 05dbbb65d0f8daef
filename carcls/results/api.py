"""The Python interface: `carcls.train` and `carcls.load`. The command line uses it too."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from carcls.base.startup import set_up
from carcls.errors import InputError
from carcls.inference.classifier import Classifier
from carcls.results import folder as files
from carcls.results import train as training
from carcls.results.settings import OPTIONS, with_overrides

__all__ = ["InputError", "begin", "load", "logging_to", "run", "train"]

log = logging.getLogger(__name__)


def train(folder: str | Path, name: str | None = None, **options: Any) -> Path:
    """Train a classifier on the class folders in `folder`, like `carcls train`. Returns the model file.

    All files are written to results/`name` (default: results/ARCH-NUMBER) in the working directory. `options`
    are those of the command, such as `epochs=5` or `image_size=96`. Other keys of params.yaml are passed as
    `**{"train.weight_decay": 0.05}`. Prints a line to standard error for each epoch. Makes PyTorch
    deterministic in this process. Raises InputError like the command.
    """
    set_up()
    asked = {OPTIONS.get(option, option): value for option, value in options.items()}
    begun = begin(str(folder), name, asked, "carcls.train")
    run(begun)
    return begun / files.MODEL


def load(model: str | Path) -> Classifier:
    """The classifier in a model file, on the best device of this machine.

    Its `predict` takes an image file or an array. Raises InputError if it is not a model of this project.
    """
    set_up()
    return Classifier.load(Path(model))


def begin(photographs: str, name: str | None, options: Mapping[str, Any], origin: str) -> Path:
    """Create the results folder of a training. Raises InputError like `with_overrides` and `folder.new`."""
    settings = with_overrides(photographs, options, origin)
    if name is None:
        return files.begin_free(settings)
    folder = files.new(name)
    files.begin(folder, settings)
    return folder


def run(folder: Path) -> None:
    """Train in `folder`, new or interrupted. Messages go to standard error and to its log."""
    with logging_to(logging.FileHandler(folder / files.LOG, encoding="utf-8")):
        training.train(folder, log.info)


@contextmanager
def logging_to(*handlers: logging.Handler) -> Iterator[None]:
    """A context in which log messages of carcls go to standard error and to `handlers`."""
    library = logging.getLogger("carcls")
    targets, level = [logging.StreamHandler(), *handlers], library.level
    library.setLevel(logging.INFO)
    logging.raiseExceptions = False  # no traceback if the log cannot be written
    for handler in targets:
        library.addHandler(handler)
    try:
        yield
    finally:
        library.setLevel(level)
        for handler in targets:
            library.removeHandler(handler)
            with suppress(OSError):  # a full disk, which the training itself reports
                handler.close()
