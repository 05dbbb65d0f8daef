"""`carcls train` and `carcls evaluate`: train a model on class folders, and evaluate a model."""

import argparse
import logging
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from carcls.base.startup import set_up
from carcls.errors import InputError
from carcls.results import folder as files
from carcls.results.settings import OPTIONS

log = logging.getLogger(__name__)

ORIGIN = "The options"


def train(arguments: argparse.Namespace) -> None:
    from carcls.results import api

    folder = _folder(arguments)
    set_up()
    try:
        api.run(folder)
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
    from carcls.results import api

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
    return api.begin(arguments.folder, arguments.name, asked, ORIGIN)


def pairs(texts: list[str]) -> dict[str, Any]:
    """KEY=VALUE texts as a mapping. VALUE is parsed as YAML, except that 1e-3 is a number."""
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
    from carcls.results.api import logging_to
    from carcls.results.evaluate import evaluate

    stem = arguments.model.parent.name if arguments.model.name == files.MODEL else arguments.model.stem
    name = arguments.name or files.free_name(f"{stem}-on-{arguments.folder.resolve().name}")
    folder = files.new(name)
    set_up()
    with logging_to():
        metrics = evaluate(arguments.model, arguments.folder, folder, pairs(arguments.set), log.info)
    for key, value in metrics.items():
        print(f"{key.removeprefix('test_'):12}  {value:.4f}")
    print(f"report: {folder / files.REPORT}")
