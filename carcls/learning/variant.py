"""One cell of the study: an architecture in one of the configurations of the paper's Table 1."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from carcls.errors import InputError
from carcls.learning.checkpoint import Checkpoint, fingerprint
from carcls.learning.device import resolve_precision
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import MEAN, STD, ModelInfo, build, load_backbone
from carcls.learning.training import Epoch, Recipe, best_epoch, fit
from carcls.params import Params


@dataclass(frozen=True)
class Variant:
    """A model before its training, what it is trained on, and how."""

    arch: str
    config: str
    model: nn.Module
    train: ArchiveSet
    val: ArchiveSet
    recipe: Recipe
    checkpoint: Checkpoint

    def fit(self, bar: type[tqdm] = tqdm) -> Generator[Epoch, None, None]:
        """See training.fit."""
        return fit(self.model, self.train, self.val, self.recipe, checkpoint=self.checkpoint, bar=bar)

    def info(self, history: list[Epoch]) -> ModelInfo:
        """What the file of the trained model says of it."""
        best, classes = best_epoch(history), self.train.classes
        return ModelInfo(self.arch, self.config, classes, self.train.size, MEAN, STD, best.val_f1, best.epoch)

    def metrics(self, history: list[Epoch]) -> dict[str, float | int]:
        """The scores of the best epoch, the number of epochs, and the size of the model."""
        best, parameters = best_epoch(history), list(self.model.parameters())
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        return {
            "val_f1": best.val_f1,
            "val_loss": best.val_loss,
            "train_f1": best.train_f1,
            "train_loss": best.train_loss,
            "epoch": best.epoch,
            "epochs": len(history),
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in trainable),
        }


def prepare(
    params: Params,
    arch: str,
    config: str,
    data: Path,
    device: torch.device,
    checkpoints: Path | None = None,
) -> Variant:
    """The variant `arch`-`config` on data/images, started from data/weights where its config is pretrained.

    `checkpoints` is the folder of its checkpoint, `checkpoint.FOLDER` without one.
    Raises InputError when configs has no `config` or a file is missing.
    """
    if config not in params.configs:
        raise InputError(f"configs has no {config}: it has {', '.join(params.configs)}.")
    start, settings = params.configs[config], params.train
    files = [data / f"images/{split}.{kind}" for split in ("train", "val") for kind in ("tar", "csv")]
    train, val = ArchiveSet(files[0]), ArchiveSet(files[2])
    model = build(arch, len(train.classes), seed=params.seed)
    if start.pretrained:
        files.append(data / f"weights/{arch}.safetensors")
        load_backbone(model, files[-1])
    recipe = Recipe(
        frozen_layers=start.frozen_layers,
        epochs=settings.epochs,
        patience=settings.patience,
        optimizer=settings.optimizer,
        batch_size=settings.batch_size,
        lr=settings.lr,
        head_lr_multiplier=settings.head_lr_multiplier,
        weight_decay=settings.weight_decay,
        device=device,
        precision=resolve_precision(settings.precision, device),
        seed=params.seed,
        adversarial=start.adversarial,
    )
    key = fingerprint((arch, recipe, settings.processes), files)
    checkpoint = Checkpoint(f"{arch}-{config}", key, checkpoints)
    return Variant(arch, config, model, train, val, recipe, checkpoint)
