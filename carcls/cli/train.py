"""`carcls train` and `carcls evaluate`: train a model on class folders, and score a model on others."""

import argparse
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from carcls.base.startup import set_up
from carcls.errors import InputError
from carcls.results import folder as files

log = logging.getLogger(__name__)

OPTIONS = {  # command-line options and their keys in params; --set changes all other keys
    "arch": "model.arch",
    "weights": "weights",
    "pretrained": "pretrained",
    "frozen_layers": "frozen_layers",
    "epochs": "train.epochs",
    "image_size": "data.image_size",
    "lr": "train.lr",
    "batch_size": "train.batch_size",
    "labels": "data.labels",
    "folds": "split.folds",
    "val": "split.val",
    "keep": "train.keep",
    "flip": "train.flip",
    "tta": "train.tta",
    "normalise": "train.normalise",
    "class_weights": "train.class_weights",
    "device": "train.device",
}
ORIGIN = "The options"


def train(arguments: argparse.Namespace) -> None:
    from carcls.results.train import train

    folder = _folder(arguments)
    set_up()
    try:
        with _logging_to(logging.FileHandler(folder / files.LOG, encoding="utf-8")):
            train(folder, log.info)
    except KeyboardInterrupt:
        name = folder.relative_to(files.RESULTS)
        print(f"\nstopped; `carcls train --resume {name}` continues", file=sys.stderr)
        raise
    metrics = files.read_metrics(folder)
    where = "in cross-validation"
    if "fgsm_f1" in metrics:
        where = f"on the test set, F1 {metrics['fgsm_f1']:.4f} under attack"
    print(
        f"{folder / files.MODEL}: F1 {metrics['test_f1']:.4f} and accuracy {metrics['test_accuracy']:.4f} "
        f"{where}\nreport: {folder / files.REPORT}"
    )


def _folder(arguments: argparse.Namespace) -> Path:
    """The results folder of a new training, or of the one to resume."""
    from carcls.results.settings import with_overrides

    asked = {key: value for name, key in OPTIONS.items() if (value := getattr(arguments, name)) is not None}
    asked |= pairs(arguments.set)
    if arguments.resume:
        if arguments.folder or arguments.name or asked:
            raise InputError(
                "--resume continues with the settings of that training: remove FOLDER and all other options."
            )
        return files.begun(arguments.resume)
    if not arguments.folder:
        raise InputError("Name a folder with one folder of images per class, or use --resume NAME.")
    settings = with_overrides(arguments.folder, asked, ORIGIN)
    if arguments.name:
        folder = files.new(arguments.name)
        files.begin(folder, settings)
        return folder
    return files.begin_free(settings)


@contextmanager
def _logging_to(*handlers: logging.Handler) -> Iterator[None]:
    """Inside, log messages of carcls go to the terminal and to `handlers`."""
    library = logging.getLogger("carcls")
    heard = [logging.StreamHandler(), *handlers]
    library.setLevel(logging.INFO)
    logging.raiseExceptions = False  # no traceback if the log cannot be written
    for handler in heard:
        library.addHandler(handler)
    try:
        yield
    finally:
        for handler in heard:
            library.removeHandler(handler)
            with suppress(OSError):  # a full disk, which the training itself reports
                handler.close()


def pairs(texts: list[str]) -> dict[str, Any]:
    """KEY=VALUE texts as a mapping. VALUE is read as YAML; unlike in YAML, 1e-3 is a number."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text} has no =: write KEY=VALUE, such as train.weight_decay=0.05.")
        try:
            found[key] = float(value) if re.fullmatch(r"[+-]?\d+e[+-]?\d+", value) else yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {text}: {value} is not valid YAML.") from None
    return found


def evaluate(arguments: argparse.Namespace) -> None:
    from carcls.results.evaluate import evaluate

    stem = arguments.model.parent.name if arguments.model.name == files.MODEL else arguments.model.stem
    name = arguments.name or files.free_name(f"{stem}-on-{arguments.folder.resolve().name}")
    folder = files.new(name)
    set_up()
    with _logging_to():
        metrics = evaluate(arguments.model, arguments.folder, folder, pairs(arguments.set), log.info)
    for key, value in metrics.items():
        print(f"{key.removeprefix('test_'):12}  {value:.4f}")
    print(f"report: {folder / files.REPORT}")
