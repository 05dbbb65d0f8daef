"""Evaluate a trained model on labelled photographs on which it was not trained."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from carcls import params
from carcls.data.sources.filter import LeftOut
from carcls.data.sources.folder import as_named, existing
from carcls.errors import InputError
from carcls.files import write_csv, write_json
from carcls.imageset.archive import read_index
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import ModelInfo, load_model, read_info
from carcls.params import Params
from carcls.pipeline.augment import augment
from carcls.pipeline.chosen import Chosen
from carcls.pipeline.download import download
from carcls.pipeline.evaluate import test
from carcls.pipeline.report import report
from carcls.results import folder as files
from carcls.results.known import known
from carcls.results.settings import override, preset

log = logging.getLogger(__name__)


def evaluate(
    path: Path, photographs: Path, folder: Path, options: Mapping[str, Any], notify: Callable[[str], None]
) -> dict[str, float]:
    """The scores of the model `path` on the class folders in `photographs`; `options` as in `with_overrides`.

    If the photographs have a test set, only the test set is used. Images on which the model was trained or
    selected, according to photographs.csv beside it, are skipped. Writes report.html, metrics.json and
    predictions.csv to the results folder `folder`. Calls `notify` with a description of each step. Raises
    InputError for a class that the model does not have, and like `collect`.
    """
    info = read_info(path)
    settings = _settings(photographs, info, options)
    work = folder / files.WORK
    files.make(folder)
    try:
        notify("Reading the photographs")
        download(settings, work)
        _label(settings, path, info, work)
        augment(settings, work)
        notify("Testing the model")
        model, _ = load_model(path)
        images = ArchiveSet(work / "data/images/test.tar")
        chosen = Chosen(path, model, info, images, resolve_device(settings.train.device))
        metrics = test(chosen, work / "plots/test")
        write_json(work / "metrics/test.json", metrics)
        report(settings, work, folder.name)
        write_json(folder / files.METRICS, metrics)
        files.keep(work, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # this call created it
        raise
    shutil.rmtree(work)
    return metrics


def _settings(photographs: Path, info: ModelInfo, options: Mapping[str, Any]) -> Params:
    """The preset, updated with `options`, then with the values of the model and its new photographs."""
    content = preset().model_dump()
    override(content, options, "The options")
    content["data"] |= {
        "source": "folder",
        "folder": str(existing(as_named(str(photographs)))),
        "image_size": info.image_size,
    }
    content["train"]["tta"] = info.tta
    content["model"] = {"arch": info.arch, "config": info.config}
    content["configs"].setdefault(info.config, {"pretrained": False, "frozen_layers": 0})
    return params.check(content, "The options")


def _label(settings: Params, path: Path, info: ModelInfo, work: Path) -> None:
    """Write data/split.csv with the test images, labelled by the indices of the model's classes."""
    index = read_index(work / "data/raw.tar")
    if (index["split"] == "test").any():
        index = index[index["split"] == "test"]
        log.info("using the %d images of the test set", len(index))
    labels = {name: label for label, name in enumerate(info.classes)}
    unknown = sorted(set(index["class"]) - labels.keys())
    if unknown:
        raise InputError(
            f"{settings.data.folder}: the model {path} does not have the class {unknown[0]!r} "
            f"(unknown classes: {len(unknown)}): rename the folders to the model's classes, or remove them."
        )
    seen = _seen(path, index)
    if seen.any():
        log.warning("skipped: %d images on which the model was trained or selected", seen.sum())
        left_out = [LeftOut("used to train or select the model", name) for name in index[seen]["name"]]
        others = pd.read_csv(work / "data/left_out.csv", dtype=str, keep_default_na=False)
        write_csv(work / "data/left_out.csv", pd.concat([others, pd.DataFrame(left_out)]))
    index = index[~seen]
    if index.empty:
        raise InputError(
            f"{settings.data.folder}: the model {path} was trained or selected on all images: use others."
        )
    split = index.assign(split="test", label=index["class"].map(labels))
    write_csv(work / "data/split.csv", split[["name", "label", "class", "split", "sha256"]])


def _seen(path: Path, index: pd.DataFrame) -> pd.Series:
    """Which images of `index` were used to train or select the model `path`, by their bytes."""
    before = known(path)
    return index["sha256"].isin(before.index[before != "test"])
