"""Train a model on photographs, and test, attack and report it in its results folder."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from carcls import params
from carcls.files import write_bytes, write_csv, write_json
from carcls.learning.model import read_info
from carcls.params import Params
from carcls.pipeline.augment import augment
from carcls.pipeline.download import download
from carcls.pipeline.evaluate import evaluate
from carcls.pipeline.fgsm import fgsm
from carcls.pipeline.report import report
from carcls.pipeline.split import split
from carcls.pipeline.train import train as train_variant
from carcls.pipeline.weights import weights
from carcls.results import folder as files
from carcls.results.folds import split_folds, test_folds, train_folds
from carcls.results.known import keep_splits
from carcls.results.label_errors import label_errors
from carcls.results.limits import limits
from carcls.results.quality import quality
from carcls.results.review import write_review

log = logging.getLogger(__name__)


def train(folder: Path, tell: Callable[[str], None], bar: type[tqdm] = tqdm) -> None:
    """Train as the params of the results folder `folder` say, and leave in it what `folder` names.

    `tell` is called with what is being done, `bar` shows the images of an epoch. KeyboardInterrupt during an
    epoch ends the training and keeps what it learned so far. A call after a kill, or after an error that
    came when an epoch had ended, continues: the files needed on the way are in folder/WORK until the end.
    Raises InputError as the stages do.
    """
    settings = params.load(folder / files.PARAMS)
    work = folder / files.WORK
    with files.training(folder):
        model = work / f"models/{settings.variant}.safetensors"
        if not model.exists():
            _train(settings, folder, work, tell, bar)
        if not settings.split.folds:  # then no image is left that the model was not trained on
            tell("Calibrating the model")
            limits(settings, work)
        write_bytes(folder / files.MODEL, model.read_bytes())
        info = read_info(folder / files.MODEL)
        validated = "" if info.val_f1 is None else f", validation F1 {info.val_f1:.4f}"
        log.info("kept epoch %d%s", info.epoch, validated)
        _judge(settings, folder, work, tell)


def _train(settings: Params, folder: Path, work: Path, tell: Callable[[str], None], bar: type[tqdm]) -> None:
    """Run the stages from download to train."""
    arch, config = settings.model.arch, settings.model.config
    tell("Reading the photographs")
    used = download(settings, work)
    if used:  # so that the Labels tab adds to them
        write_csv(folder / files.LABELS, (label.row() for label in used))
    if settings.split.folds:
        split_folds(settings, work)
    else:
        split(settings, work)
        keep_splits(settings, work)
    tell("Rescaling and augmenting the images")
    augment(settings, work)
    if settings.configs[config].pretrained:
        tell("Fetching the pretrained weights")
        weights(settings, work, arch)
    if settings.split.folds:
        train_folds(settings, work, tell, bar)
    (work / "data/raw.tar").unlink()  # as large as the photographs, and not needed again
    tell("Preparing the first epoch")
    train_variant(settings, work, arch, config, history=folder / files.HISTORY, bar=bar, interruptible=True)


def _judge(settings: Params, folder: Path, work: Path, tell: Callable[[str], None]) -> None:
    """Run evaluate, fgsm, label errors and report. The report, moved last, marks the training as finished."""
    tell("Testing the model")
    if settings.split.folds:  # no image is left to attack the model on
        test_folds(settings, work)
    else:
        evaluate(settings, work)
        tell("Attacking the model")
        fgsm(settings, work)
    if settings.configs[settings.model.config].pretrained:
        tell("Looking for label errors")
        label_errors(settings, work)
    tell("Measuring the photographs")
    quality(settings, work)
    write_review(work)
    tell("Writing the report")
    history = work / f"plots/history/{settings.variant}.csv"
    write_bytes(history, (folder / files.HISTORY).read_bytes())
    report(settings, work, folder.name)
    parts = [f"metrics/train/{settings.variant}.json", "metrics/test.json", "metrics/fgsm.json"]
    metrics: dict[str, float] = {}
    for part in parts:
        if (work / part).exists():
            metrics |= json.loads((work / part).read_text())
    write_json(folder / files.METRICS, metrics)
    files.keep(work, folder)
    log.info("%s", folder / files.REPORT)
