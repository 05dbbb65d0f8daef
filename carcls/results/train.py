"""From photographs to a results folder: the model, how good it is, and the report that says so."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from carcls import params
from carcls.data import augment
from carcls.data.collect import collect, open_source
from carcls.data.sources.sift import LeftOut
from carcls.data.split import assign
from carcls.errors import InputError
from carcls.evaluation.doubts import doubts, features
from carcls.files import write_csv, write_json, write_text
from carcls.imageset.archive import read_index
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import build, load_backbone, load_model, save_backbone, save_model
from carcls.learning.training import Epoch
from carcls.learning.variant import Variant, history_rows, prepare
from carcls.learning.weights import backbone
from carcls.params import Params
from carcls.results import folder as files
from carcls.results.tested import attacked, test
from carcls.study.report import build as build_report

log = logging.getLogger(__name__)


def train(folder: Path, tell: Callable[[str], None], bar: type[tqdm] = tqdm) -> None:
    """Do what the params of the results folder `folder` ask for, and leave in it what `folder` names.

    `tell` hears what is being done, `bar` shows the images of an epoch. KeyboardInterrupt during an epoch
    ends the training with the best one kept. What a kill cut off is gone on with by the next call: what is
    needed on the way is in folder/WORK until the end. Raises InputError as the stages do.
    """
    settings = params.load(folder / files.PARAMS)
    work = folder / files.WORK
    with files.training(folder):
        photographs(settings, work, tell)
        trained = _fit(settings, folder, work, tell, bar)
        _judge(settings, folder, work, trained, tell)


def photographs(settings: Params, work: Path, tell: Callable[[str], None]) -> None:
    """The stages download, split and augment, in work/data."""
    data, raw = work / "data", work / "data/raw.tar"
    tell("Reading the photographs")
    left_out = collect(open_source(settings.data, settings.seed, data), raw, settings.data.skip_unreadable)
    index = read_index(raw)
    split, copies = assign(index, settings.split, settings.seed)
    write_csv(data / "left_out.csv", pd.DataFrame(left_out, columns=LeftOut._fields))
    write_csv(data / "copies.csv", copies)
    write_csv(data / "split.csv", split.merge(index[["name", "sha256"]]))
    tell("Rescaling and augmenting the images")
    sizes = {"image_size": settings.data.image_size, "seed": settings.seed}
    augment.build(raw, split, data / "images", settings=settings.augment, **sizes)
    raw.unlink()


def _fit(
    settings: Params, folder: Path, work: Path, tell: Callable[[str], None], bar: type[tqdm]
) -> dict[str, float]:
    """The stages weights and train: folder/MODEL, and what is known of its training."""
    arch, config = settings.model.arch, settings.model.config
    if settings.configs[config].pretrained:
        tell("Fetching the pretrained weights")
        save_backbone(work / f"data/weights/{arch}.safetensors", backbone(settings, arch))
    device = resolve_device(settings.train.device)
    variant = prepare(settings, arch, config, work / "data", device, work)
    images = f"{len(variant.train)} training and {len(variant.val)} validation images"
    log.info("%d classes, %s", len(variant.train.classes), images)
    tell("Preparing the first epoch")
    history = _epochs(variant, folder / files.HISTORY, bar)
    if not history:
        raise InputError("Stopped before the first epoch had ended: there is no model to keep.")
    info = variant.info(history)
    save_model(folder / files.MODEL, variant.model, info)
    log.info("kept epoch %d, validation F1 %.4f", info.epoch, info.val_f1)
    write_csv(work / f"plots/history/{arch}-{config}.csv", history_rows([history]))
    metrics = variant.metrics(history)
    write_json(work / f"metrics/train/{arch}-{config}.json", metrics)
    return metrics


def _epochs(variant: Variant, csv: Path, bar: type[tqdm]) -> list[Epoch]:
    """The epochs of `variant`, each written to `csv` as it ends; a KeyboardInterrupt ends them early."""
    history: list[Epoch] = []
    try:
        with closing(variant.fit(bar)) as epochs:
            for epoch in epochs:
                log.info("%s", epoch)
                history.append(epoch)
                write_csv(csv, list(map(asdict, history)))
    except KeyboardInterrupt:
        log.info("stopped")
    return history


def _judge(
    settings: Params, folder: Path, work: Path, trained: dict[str, float], tell: Callable[[str], None]
) -> None:
    """The stages evaluate, fgsm and report, and the labels to doubt; the report, written last, is the end."""
    device = resolve_device(settings.train.device)
    model, info = load_model(folder / files.MODEL)
    images = ArchiveSet(work / "data/images/test.tar")
    tell("Testing the model")
    tested = test(model, info, images, device, work / "plots/test")
    write_json(work / "metrics/test.json", tested)
    tell("Attacking the model")
    under_attack = attacked(model, info, images, settings, device, work / "plots/fgsm")
    write_json(work / "metrics/fgsm.json", under_attack)
    if settings.configs[info.config].pretrained:
        tell("Looking for labels to doubt")
        write_csv(work / "plots/doubts.csv", doubtful(settings, work / "data", info.classes, device))
    tell("Writing the report")
    report = build_report(settings, work, folder.name)
    write_json(folder / files.METRICS, trained | tested | under_attack)
    files.keep(work, folder)
    write_text(folder / files.REPORT, report)
    log.info("%s", folder / files.REPORT)


def doubtful(settings: Params, data: Path, classes: list[str], device: torch.device) -> pd.DataFrame:
    """`doubts` of the training and validation photographs, by the backbone that the training started from.

    Columns split, name (in the archive), photograph, class, answer, given, doubt.
    """
    model = build(settings.model.arch, len(classes), seed=settings.seed)
    load_backbone(model, data / f"weights/{settings.model.arch}.safetensors")
    found, rows = [], []
    for split in ("train", "val"):
        tar = data / f"images/{split}.tar"
        index = read_index(tar)
        rows.append(index[index["operations"] == ""].assign(split=split))
        found.append(features(model, ArchiveSet(tar).originals(), device))
    photographs = pd.concat(rows, ignore_index=True)
    table = doubts(np.concatenate(found), photographs["label"].to_numpy(), settings.seed)
    of = photographs.loc[table.pop("place"), ["split", "name", "source", "class"]].reset_index(drop=True)
    table["answer"] = np.array(classes, dtype=object)[table["answer"]]
    return pd.concat([of.rename(columns={"source": "photograph"}), table], axis=1)
