"""A trained model on labelled photographs that it has not seen: its scores and a report."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from carcls import params
from carcls.data import augment
from carcls.data.collect import collect, open_source
from carcls.data.sources.folder import existing
from carcls.data.sources.sift import LeftOut
from carcls.errors import InputError
from carcls.files import write_csv, write_json, write_text
from carcls.imageset.archive import read_index
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import ModelInfo, load_model, read_info
from carcls.params import Params
from carcls.results import folder as files
from carcls.results.settings import lay, preset
from carcls.results.tested import test
from carcls.study.report import build as build_report

log = logging.getLogger(__name__)


def evaluate(
    path: Path, photographs: Path, folder: Path, options: Mapping[str, Any], tell: Callable[[str], None]
) -> dict[str, float]:
    """The scores of the model `path` on the folder of classes `photographs`; `options` as in `lay_over`.

    Where that has a test set of its own, it is this that counts. What the model was trained or chosen on,
    told by photographs.csv beside it, is left out. Leaves report.html, metrics.json and predictions.csv in
    the results folder `folder`. Raises InputError for a class that the model does not know, and as `collect`.
    """
    info = read_info(path)
    settings = _settings(photographs, info, options)
    work = folder / files.WORK
    files.make(folder)
    try:
        tell("Reading the photographs")
        _read(settings, path, info, work)
        tell("Testing the model")
        model, _ = load_model(path)
        images = ArchiveSet(work / "data/images/test.tar")
        metrics = test(model, info, images, resolve_device(settings.train.device), work / "plots/test")
        write_json(work / "metrics/test.json", metrics)
        report = build_report(settings, work, folder.name)
        write_json(folder / files.METRICS, metrics)
        files.keep(work, folder)
        write_text(folder / files.REPORT, report)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # it is new
        raise
    shutil.rmtree(work)
    return metrics


def _settings(photographs: Path, info: ModelInfo, options: Mapping[str, Any]) -> Params:
    """The preset under `options`, and over both what is known of the model and its new photographs."""
    content = preset().model_dump()
    lay(content, options, "The options")
    content["data"] |= {
        "source": "folder",
        "folder": str(existing(photographs)),
        "image_size": info.image_size,
    }
    content["model"] = {"arch": info.arch, "config": info.config}
    content["configs"].setdefault(info.config, {"pretrained": False, "frozen_layers": 0})
    return params.check(content, "The options")


def _read(settings: Params, path: Path, info: ModelInfo, work: Path) -> None:
    """Every photograph that counts, in work/data/images/test, labelled as the model does."""
    data, raw = work / "data", work / "data/raw.tar"
    left_out = collect(open_source(settings.data, settings.seed, data), raw, settings.data.skip_unreadable)
    index = read_index(raw)
    if (index["split"] == "test").any():
        index = index[index["split"] == "test"]
        log.info("%d images of its test set", len(index))
    labels = {name: label for label, name in enumerate(info.classes)}
    unknown = sorted(set(index["class"]) - labels.keys())
    if unknown:
        raise InputError(
            f"{settings.data.folder}: the model {path} does not know the class {unknown[0]!r} "
            f"({len(unknown)} such in all): name the folders as its classes, or take them away."
        )
    seen = _seen(path, index)
    left_out += [LeftOut("trained on by the model", name) for name in index[seen]["name"]]
    if seen.any():
        log.warning("left out: %d images that the model was trained or chosen on", seen.sum())
    index = index[~seen]
    if index.empty:
        raise InputError(f"{settings.data.folder}: the model {path} was trained on all of these images.")
    split = index.assign(split="test", label=index["class"].map(labels))
    write_csv(data / "left_out.csv", pd.DataFrame(left_out, columns=LeftOut._fields))
    write_csv(data / "split.csv", split[["name", "label", "class", "split", "sha256"]])
    rows = split[["name", "label", "class", "split"]]
    sizes = {"image_size": settings.data.image_size, "seed": settings.seed}
    augment.build(raw, rows, data / "images", settings=settings.augment, **sizes)
    raw.unlink()


def _seen(path: Path, index: pd.DataFrame) -> pd.Series:
    """Which images of `index` the model `path` was trained or chosen on, by their bytes."""
    try:
        known = pd.read_csv(path.with_name(files.PHOTOGRAPHS), dtype=str, keep_default_na=False)
    except FileNotFoundError:
        return pd.Series(False, index=index.index)
    return index["sha256"].isin(known.loc[known["split"] != "test", "sha256"])
