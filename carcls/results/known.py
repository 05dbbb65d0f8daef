"""Keep the split of photographs on which the starting weights were trained, so that scores are valid."""

import logging
from pathlib import Path

import pandas as pd

from carcls.errors import InputError
from carcls.files import write_csv
from carcls.params import Params
from carcls.results.folder import PHOTOGRAPHS

log = logging.getLogger(__name__)


def known(model: Path) -> pd.Series:
    """The splits, by SHA-256, of the photographs with which the model file `model` was trained.

    Empty if the model is not in a results folder.
    """
    try:
        rows = pd.read_csv(model.with_name(PHOTOGRAPHS), dtype=str, keep_default_na=False)
    except FileNotFoundError:
        return pd.Series(dtype=str)
    return rows.drop_duplicates("sha256").set_index("sha256")["split"]


def start_of(params: Params) -> tuple[Path | None, pd.Series]:
    """The model file that `weights` names, if the training starts from it, and its `known` photographs."""
    start = params.weights_file(params.model.arch)
    if start is None or not params.configs[params.model.config].pretrained:
        return None, pd.Series(dtype=str)
    return start, known(start)


def keep_splits(params: Params, root: Path) -> None:
    """Give each photograph in data/split.csv the split that it had for the model that `weights` names.

    Without a validation set, earlier validation images become training images. A class that would have no
    training image keeps the new splits. Raises InputError if no test image is left, or if there is a
    validation set and a class has no validation image.
    """
    start, before = start_of(params)
    path = root / "data/split.csv"
    rows = pd.read_csv(path, dtype={"class": str}, keep_default_na=False)
    if params.split.val is None:
        before = before.replace("val", "train")
    earlier = rows["sha256"].isin(before.index)
    if not earlier.any():
        return
    log.info("%d images keep the split that they had for %s", earlier.sum(), start)
    drawn = zip(rows["sha256"], rows["split"], strict=True)
    split = pd.Series([before.get(sha256, here) for sha256, here in drawn], index=rows.index)
    trains = (split == "train").groupby(rows["class"]).transform("any")
    split = split.where(trains, rows["split"])
    validated = (split == "val").groupby(rows["class"]).any()
    if not (split == "test").any() or (params.split.val is not None and not validated.all()):
        raise InputError(
            f"{start} was trained on all images that could be used for testing or validation: add others, "
            "and set split.val to null and train.keep to last."
        )
    write_csv(path, rows.assign(split=split))
