"""One cell of the study: an architecture in one of the configurations of the paper's Table 1."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import nn
from tqdm import tqdm

from carcls.base.seeds import derive
from carcls.base.variants import variant_name
from carcls.errors import InputError
from carcls.files import CHECKPOINTS
from carcls.learning.checkpoint import Checkpoint, fingerprint
from carcls.learning.device import resolve_precision
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import MEAN, STD, ModelInfo, build, load_backbone
from carcls.learning.training import Epoch, Recipe, best_epoch, fit
from carcls.params import Params


@dataclass(frozen=True)
class Variant:
    """A model before its training, what it is trained on, and how."""

    name: str  # ARCH-CONFIG, from the second repeat on with its number: ARCH-CONFIG.2
    arch: str
    config: str
    model: nn.Module
    train: ArchiveSet
    val: ArchiveSet
    recipe: Recipe
    checkpoint: Checkpoint
    backbone: Path | None  # the file that the model starts from

    def fit(self, bar: type[tqdm] = tqdm) -> Generator[Epoch, None, None]:
        """See training.fit."""
        return fit(self.model, self.train, self.val, self.recipe, checkpoint=self.checkpoint, bar=bar)

    def repeats(self, count: int) -> Iterator["Variant"]:
        """This variant, and after it the same on the same images from other seeds, until they are `count`.

        What a repeat draws depends on its number and the seed of the first: all variants of a study meet the
        images in the same order in it.
        """
        yield self
        for number in range(2, count + 1):
            seed = derive(self.recipe.seed, "repeat", number)
            name, first = f"{self.name}.{number}", self.checkpoint
            yield replace(
                self,
                name=name,
                model=_start(self.arch, len(self.train.classes), seed, self.backbone),
                recipe=replace(self.recipe, seed=seed),
                checkpoint=Checkpoint(name, f"{first.fingerprint}.{number}", first.path.parent),
            )

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


def spread(histories: Sequence[list[Epoch]]) -> dict[str, float | list[float]]:
    """The best val_f1 of each repeat, their mean and standard deviation (n - 1); nothing of one alone."""
    best = [best_epoch(history).val_f1 for history in histories]
    if len(best) < 2:
        return {}
    return {"val_f1_mean": fmean(best), "val_f1_std": stdev(best), "val_f1_repeats": best}


def history_rows(histories: Sequence[list[Epoch]]) -> list[dict[str, float | int]]:
    """The rows of plots/history/*.csv: the epochs of each repeat in turn, repeats counted from 1."""
    return [
        {"repeat": number} | asdict(epoch) for number, epochs in enumerate(histories, 1) for epoch in epochs
    ]


def prepare(params: Params, root: Path, arch: str, config: str, device: torch.device) -> Variant:
    """The variant `arch`-`config` on data/images, started from data/weights where its config is pretrained.

    All of these, and its checkpoint, are below `root`.
    Raises InputError when configs has no `config` or a file is missing.
    """
    if config not in params.configs:
        raise InputError(f"configs has no {config}: it has {', '.join(params.configs)}.")
    start, settings = params.configs[config], params.train
    files = [root / f"data/images/{split}.{kind}" for split in ("train", "val") for kind in ("tar", "csv")]
    train, val = ArchiveSet(files[0]), ArchiveSet(files[2])
    backbone = root / f"data/weights/{arch}.safetensors" if start.pretrained else None
    model = _start(arch, len(train.classes), params.seed, backbone)
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
    key = fingerprint((arch, recipe, settings.processes), [*files, *([backbone] if backbone else [])])
    name = variant_name(arch, config)
    checkpoint = Checkpoint(name, key, root / CHECKPOINTS)
    return Variant(name, arch, config, model, train, val, recipe, checkpoint, backbone)


def _start(arch: str, classes: int, seed: int, backbone: Path | None) -> nn.Module:
    """A model before its training. Raises InputError when the file of the `backbone` is missing."""
    model = build(arch, classes, seed=seed)
    if backbone:
        load_backbone(model, backbone)
    return model
