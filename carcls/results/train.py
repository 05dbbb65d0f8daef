"""Train a model on photographs, test and attack it, and write its report to its results folder."""

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


def train(folder: Path, notify: Callable[[str], None], bar: type[tqdm] = tqdm) -> None:
    """Train with the params of the results folder `folder`, and write model, scores and report to it.

    `notify` is called with a description of each step. `bar` shows the progress of an epoch in images. A
    KeyboardInterrupt during an epoch ends the training, but not the steps after it: they use the epochs
    finished so far. After a kill, or an error after the first epoch, another call resumes the training:
    intermediate files stay in folder/WORK until the end. Raises InputError like the stages.
    """
    settings = params.load(folder / files.PARAMS)
    work = folder / files.WORK
    with files.training(folder):
        model = work / f"models/{settings.variant}.safetensors"
        if not model.exists():
            _train(settings, folder, work, notify, bar)
        if not settings.split.folds:  # with folds, the model is trained on all images
            notify("Calibrating the model")
            limits(settings, work)
        write_bytes(folder / files.MODEL, model.read_bytes())
        info = read_info(folder / files.MODEL)
        validated = "" if info.val_f1 is None else f", validation F1 {info.val_f1:.4f}"
        log.info("kept epoch %d%s", info.epoch, validated)
        _evaluate(settings, folder, work, notify)


def _train(
    settings: Params, folder: Path, work: Path, notify: Callable[[str], None], bar: type[tqdm]
) -> None:
    """Run the stages from download to train."""
    arch, config = settings.model.arch, settings.model.config
    notify("Reading the photographs")
    used = download(settings, work)
    if used:  # the Labels tab adds decisions to this file
        write_csv(folder / files.LABELS, (label.row() for label in used))
    if settings.split.folds:
        split_folds(settings, work)
    else:
        split(settings, work)
        keep_splits(settings, work)
    notify("Rescaling and augmenting the images")
    augment(settings, work)
    if settings.configs[config].pretrained:
        notify("Fetching the pretrained weights")
        weights(settings, work, arch)
    if settings.split.folds:
        train_folds(settings, work, notify, bar)
    (work / "data/raw.tar").unlink()  # as large as the photographs and no longer needed
    notify("Preparing the first epoch")
    train_variant(settings, work, arch, config, history=folder / files.HISTORY, bar=bar, interruptible=True)


def _evaluate(settings: Params, folder: Path, work: Path, notify: Callable[[str], None]) -> None:
    """Run evaluate, fgsm, label errors and report. The report, moved last, marks the training as finished."""
    notify("Testing the model")
    if settings.split.folds:  # no image is left to attack the model on
        test_folds(settings, work)
    else:
        evaluate(settings, work)
        notify("Attacking the model")
        fgsm(settings, work)
    if settings.configs[settings.model.config].pretrained:
        notify("Looking for label errors")
        label_errors(settings, work)
    notify("Measuring the photographs")
    quality(settings, work)
    write_review(work)
    notify("Writing the report")
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
