"""The preset for photographs with the user's options, as checked params."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carcls import params
from carcls.data import labels
from carcls.data.sources.filter import summary
from carcls.data.sources.folder import as_named, existing, find_photographs
from carcls.errors import InputError

PRESET = Path(__file__).with_name("photographs.yaml")
TRAINED = {
    True: ("train", ""),
    False: ("train", "val", ""),
}  # splits that train, by split.val


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
    if options.get("train.flip") is False:  # a mirror image says nothing of its image then, in answers either
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
    """The name of such a configuration in the study, or a similar name."""
    frozen = f"freeze{frozen_layers}" if frozen_layers else ""
    parts = ("" if pretrained else "scratch", frozen, "robust" if adversarial else "")
    return "_".join(filter(None, parts)) or "pretrained"


def count(folder: str, table: str = "") -> tuple[list[str], int, str]:
    """The classes of `folder`, its number of images and a summary of skipped files, from file names alone.

    `table` is a file for data.labels, or "". Raises InputError for what would stop a training: anything that
    `find_photographs` or `labels.find_labelled` rejects, and a class with fewer images than splits.
    """
    if not folder.strip():
        raise InputError("Name a folder with one folder of images per class.")
    try:
        if table.strip():
            decided = labels.read(as_named(table))
            rows, left_out, _ = labels.find_labelled(as_named(folder), decided)
            rows = labels.apply(rows, decided)
        else:
            rows, left_out = find_photographs(as_named(folder))
    except InputError as error:
        raise InputError(str(error).removeprefix("data.folder: ")) from None
    given = {row.split for row in rows}
    divides = preset().split.val is not None
    needed = 1 + (divides and "val" not in given) + ("test" not in given)
    divided = Counter(row.class_name for row in rows if row.split in TRAINED[divides])
    for name, images in sorted(divided.items()):
        if images < needed:
            raise InputError(
                f"The class {name!r} has {images} image{'s' * (images > 1)} to train on, and {needed} are "
                "needed to have one in each split: add some or remove the class."
            )
    return sorted(divided), len(rows), summary(left_out)
