"""The preset for photographs, updated with the user's options and checked."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from carcls import params
from carcls.data import labels
from carcls.data.sources.filter import summary
from carcls.data.sources.folder import as_named, existing, find_photographs
from carcls.data.sources.layout import Placed, lookalikes, merged
from carcls.errors import InputError

PRESET = Path(__file__).with_name("photographs.yaml")
OPTIONS = {  # options of `carcls train`, and their keys in params
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


def preset() -> params.Params:
    """The default params of a training."""
    return params.load(PRESET)


def with_overrides(folder: str, options: Mapping[str, Any], origin: str) -> params.Params:
    """The preset for the photographs in `folder`, updated with `options`.

    The keys of `options` are keys of params.yaml with dots, such as train.epochs. Instead of a config, they
    may be `pretrained`, `frozen_layers` and `adversarial`. Raises InputError, whose message starts with
    `origin`, if these settings are invalid.
    """
    table = str(options.get("data.labels") or "")
    count(folder, table)
    content = preset().model_dump()
    content["data"] |= {"source": "folder", "folder": str(existing(as_named(folder)))}
    if table:
        options = {**options, "data.labels": str(labels.read(as_named(table)).path)}  # absolute, for --resume
    start = content["configs"][content["model"]["config"]]
    start = start | {key: options[key] for key in start.keys() & options.keys()}
    config = _config(**start)
    content["configs"], content["model"]["config"] = {config: start}, config
    options = {key: value for key, value in options.items() if key not in start}
    if options.get("train.flip") is False:  # mirrored images are then invalid at prediction too
        options = {"train.tta": "none"} | options
    override(content, options, origin)
    settings = params.check(content, origin)
    if settings.train.repeats > 1:
        raise InputError(
            f"{origin}: train.repeats is {settings.train.repeats}, but a results folder contains one model: "
            "set it to 1, or train again with another seed and another name."
        )
    return settings


def override(content: dict, options: Mapping[str, Any], origin: str) -> None:
    """Set the keys of `options`, with dots, in the params `content`. Raises InputError for an unknown key."""
    for key, value in options.items():
        *above, last = key.split(".")
        section = content
        for name in above:
            section = section.get(name, {}) if isinstance(section, dict) else {}
        if not isinstance(section, dict) or last not in section:
            raise InputError(f"{origin}: there is no key {key}; {PRESET} lists all keys.")
        section[last] = value


def _config(pretrained: bool, frozen_layers: int, adversarial: dict | None) -> str:
    """The name of this configuration in the study, or a similar name."""
    frozen = f"freeze{frozen_layers}" if frozen_layers else ""
    parts = ("" if pretrained else "scratch", frozen, "robust" if adversarial else "")
    return "_".join(filter(None, parts)) or "pretrained"


class Contents(NamedTuple):
    """The photographs of a folder, found by their file names, and a summary of skipped files."""

    folder: Path
    rows: list[Placed]
    left_out: str

    def classes(self) -> list[str]:
        return sorted({row.class_name for row in self.rows})

    def warnings(self) -> list[str]:
        """Messages about class names that are read as one, or look alike."""
        return merged(self.rows) + lookalikes(self.classes())

    def sizes(self, split: params.Split) -> tuple[int, int, int]:
        """The approximate numbers of training, validation and test images."""
        given = Counter(row.split for row in self.rows)
        test = given["test"] or round(len(self.rows) * (split.test or 0))
        others = len(self.rows) - test
        val = (given["val"] or round(others * split.val)) if split.val else 0
        return others - val, val, test


def count(folder: str, table: str = "") -> Contents:
    """The photographs of `folder`.

    `table` is a file for data.labels, or "". Raises InputError for what would stop a training: anything that
    `find_photographs` or `labels.find_labelled` rejects, and a class of one image if there is no test set.
    """
    if not folder.strip():
        raise InputError("Name a folder with one folder of images per class.")
    try:
        if table.strip():
            decisions = labels.read(as_named(table))
            rows, left_out, _ = labels.find_labelled(as_named(folder), decisions)
            rows = labels.apply(rows, decisions)
        else:
            rows, left_out = find_photographs(as_named(folder))
    except InputError as error:
        raise InputError(str(error).removeprefix("data.folder: ")) from None
    classes = Counter(row.class_name for row in rows)
    tested = any(row.split == "test" for row in rows)
    for name, images in sorted(classes.items()):
        if images == 1 and not tested:
            raise InputError(
                f"The class {name!r} has 1 image, but 2 are needed, one of them for testing: add images or "
                "remove the class."
            )
    return Contents(existing(as_named(folder)), rows, summary(left_out))
