"""One cell of the study: an architecture in one of the configurations of the paper's Table 1."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import nn
from tqdm import tqdm

from carcls.base.seeds import derive
from carcls.base.variants import variant_name
from carcls.errors import InputError
from carcls.files import CHECKPOINTS
from carcls.learning.checkpoint import Checkpoint, checkpoint_key
from carcls.learning.device import resolve_precision
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import (
    IMAGENET,
    PAPER,
    ModelInfo,
    build_model,
    inference_of,
    load_backbone,
    set_inference,
)
from carcls.learning.training import Epoch, Recipe, fit, kept_epoch
from carcls.params import Params, Train


@dataclass(frozen=True)
class Variant:
    """A model before its training, its images and the settings of the training."""

    name: str  # ARCH-CONFIG, or ARCH-CONFIG.2 for the second repeat
    arch: str
    config: str
    model: nn.Module
    train: ArchiveSet
    val: ArchiveSet  # empty without a validation set
    recipe: Recipe
    checkpoint: Checkpoint
    start: Callable[[int], nn.Module]  # builds the model before its training from a seed

    def fit(self, bar: type[tqdm] = tqdm) -> Generator[Epoch, None, None]:
        """See training.fit."""
        return fit(self.model, self.train, self.val, self.recipe, checkpoint=self.checkpoint, bar=bar)

    def repeats(self, count: int) -> Iterator["Variant"]:
        """This variant, then repeats of it on the same images with other seeds: `count` in all.

        The seed of a repeat depends only on its number and the first seed. So all variants of a study use the
        images in the same order.
        """
        yield self
        for number in range(2, count + 1):
            seed = derive(self.recipe.seed, "repeat", number)
            name, first = f"{self.name}.{number}", self.checkpoint
            yield replace(
                self,
                name=name,
                model=self.start(seed),
                recipe=replace(self.recipe, seed=seed),
                checkpoint=Checkpoint(name, f"{first.key}.{number}", first.path.parent),
            )

    def info(self, history: list[Epoch]) -> ModelInfo:
        """The metadata for the file of the trained model."""
        kept, (mean, std, tta, _) = self._kept(history), inference_of(self.model)
        about = (self.arch, self.config, self.train.classes, self.train.size, mean, std)
        return ModelInfo(*about, kept.val_f1, kept.epoch, tta)

    def metrics(self, history: list[Epoch]) -> dict[str, float | int]:
        """The scores of the kept epoch, the number of epochs, and the size of the model.

        Without a validation set, there are no validation scores.
        """
        kept, parameters = self._kept(history), list(self.model.parameters())
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        scores = {name: getattr(kept, name) for name in ("val_f1", "val_loss", "train_f1", "train_loss")}
        return {name: score for name, score in scores.items() if score is not None} | {
            "epoch": kept.epoch,
            "epochs": len(history),
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in trainable),
        }

    def _kept(self, history: list[Epoch]) -> Epoch:
        return kept_epoch(history, self.recipe.keep)


def spread(histories: Sequence[list[Epoch]], keep: str = "best") -> dict[str, float | list[float]]:
    """The val_f1 of each repeat, their mean and standard deviation (n - 1). Empty for a single training."""
    scores = [kept_epoch(history, keep).val_f1 for history in histories]
    kept = [score for score in scores if score is not None]
    if len(kept) < 2:
        return {}
    return {"val_f1_mean": fmean(kept), "val_f1_std": stdev(kept), "val_f1_repeats": kept}


def history_rows(histories: Sequence[list[Epoch]]) -> list[dict[str, float | int | None]]:
    """The rows of plots/history/*.csv: the epochs of each repeat, numbered from 1."""
    return [
        {"repeat": number} | asdict(epoch) for number, epochs in enumerate(histories, 1) for epoch in epochs
    ]


def prepare(params: Params, root: Path, arch: str, config: str, device: torch.device) -> Variant:
    """The variant `arch`-`config` with data/images and, if its config is pretrained, data/weights.

    These folders and its checkpoint are below `root`. Raises InputError if configs has no `config`, or if a
    file is missing.
    """
    if config not in params.configs:
        raise InputError(f"configs has no {config}: choose one of {', '.join(params.configs)}.")
    settings = params.train
    files = [root / f"data/images/{split}.{kind}" for split in ("train", "val") for kind in ("tar", "csv")]
    train, val = ArchiveSet(files[0]), ArchiveSet(files[2])
    backbone = root / f"data/weights/{arch}.safetensors" if params.configs[config].pretrained else None
    begin = partial(start, arch, len(train.classes), backbone, settings)
    model, recipe = begin(params.seed), make_recipe(params, config, device)
    key = checkpoint_key(
        (arch, recipe, inference_of(model), settings.processes), [*files, *([backbone] if backbone else [])]
    )
    name = variant_name(arch, config)
    checkpoint = Checkpoint(name, key, root / CHECKPOINTS)
    return Variant(name, arch, config, model, train, val, recipe, checkpoint, begin)


def make_recipe(params: Params, config: str, device: torch.device) -> Recipe:
    """How `params` train the configuration `config` on `device`."""
    settings, how = params.train, params.configs[config]
    return Recipe(
        frozen_layers=how.frozen_layers,
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
        adversarial=how.adversarial,
        keep=settings.keep,
        flip=settings.flip,
        class_weights=settings.class_weights,
    )


def start(arch: str, classes: int, backbone: Path | None, settings: Train, seed: int) -> nn.Module:
    """A model before its training. Raises InputError if the file `backbone` is missing."""
    model = build_model(arch, classes, seed=seed)
    if backbone:
        load_backbone(model, backbone)
    named = {"half": PAPER, "imagenet": IMAGENET, "weights": inference_of(model)}
    set_inference(model, named[settings.normalise]._replace(tta=settings.tta))
    return model
