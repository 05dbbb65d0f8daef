"""The selected model, for the stages that use no other."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from carcls.imageset.archive import read_columns
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import ModelInfo, check_classes, load_model
from carcls.params import Params


@dataclass(frozen=True)
class Chosen:
    """A trained model, its test images and the device to compute on."""

    path: Path  # of the model file
    model: nn.Module
    info: ModelInfo
    test: ArchiveSet
    device: torch.device


def load_chosen(params: Params, root: Path) -> Chosen:
    """The variant params.model. Raises InputError if it is missing or was trained on other classes."""
    path = root / f"models/{params.variant}.safetensors"
    model, info = load_model(path)
    columns = [read_columns(root / f"data/images/{split}.tar")["class"] for split in ("val", "train")]
    check_classes(path, info, sorted(set(next(filter(None, columns)))))
    return Chosen(
        path, model, info, ArchiveSet(root / "data/images/test.tar"), resolve_device(params.train.device)
    )
