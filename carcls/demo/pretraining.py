"""Backbones pretrained on drawn cars of other makes than the demo's; the paper uses those of ImageNet."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from carcls.demo.photographs import SOURCE, photographs
from carcls.files import CHECKPOINTS
from carcls.imageset import images
from carcls.learning.checkpoint import Checkpoint, checkpoint_key
from carcls.learning.device import fork_seed, resolve_device, resolve_precision
from carcls.learning.loading import ImageSet
from carcls.learning.model import backbone_of, build_model
from carcls.learning.training import Recipe, fit
from carcls.params import Params, Pretrain

log = logging.getLogger(__name__)

KEPT = ".carcls"  # folder below the root, for files that all architectures share
CODE = ("base", "imageset", "learning", "demo")  # packages that determine the drawings and the training
EVERY = 3  # the whole network is trained on every third image
# Scale of the last BatchNorm if one block is added to a layer. Blocks that start as identities learn little:
# removing them from the trained network costs no F1 (docs/log.md).
SCALE = 0.7


def pretrain(params: Params, root: Path, arch: str) -> dict[str, Tensor]:
    """A backbone trained from scratch on drawn cars of other makes than the demo's own.

    The network is grown in two steps, which learns more in the same time than training it whole from the
    start. First a network with one block per layer is trained. All architectures share it: it is kept below
    `root` as a finished checkpoint. Then the other blocks are added and the whole network is trained.
    """
    settings = params.pretrain
    train, val, classes = pretraining_sets(settings, params.data.image_size, root / KEPT)
    model = build_model(arch, classes, seed=settings.seed)
    shallow = build_shallow(model, classes, seed=settings.seed)
    recipe = _pretraining(params, settings.shallow_epochs)
    key = checkpoint_key((str(shallow), recipe, settings, params.data.image_size), packages=CODE)
    for epoch in fit(shallow, train, val, recipe, checkpoint=Checkpoint("shallow", key, root / KEPT)):
        log.info("pretraining with one block per layer, %s", epoch)
    model.load_state_dict(shallow.state_dict(), strict=False)
    for layer in model.children():
        if isinstance(layer, nn.Sequential):
            _scale_down(layer[1:])
    some = train.select(torch.arange(0, len(train), EVERY))
    recipe = _pretraining(params, settings.epochs)
    key = checkpoint_key((arch, key, recipe, len(some)), packages=CODE)
    checkpoint = Checkpoint(f"pretrain-{arch}", key, root / CHECKPOINTS)
    for epoch in fit(model, some, val, recipe, checkpoint=checkpoint):
        log.info("pretraining %s, %s", arch, epoch)
    checkpoint.remove()
    return backbone_of(model.state_dict())


def _pretraining(params: Params, epochs: int) -> Recipe:
    settings, device = params.pretrain, resolve_device(params.train.device)
    return Recipe(
        frozen_layers=0,
        epochs=epochs,
        patience=epochs,
        optimizer="adamw",
        batch_size=settings.batch_size,
        lr=settings.lr,
        head_lr_multiplier=1,
        weight_decay=settings.weight_decay,
        device=device,
        precision=resolve_precision(params.train.precision, device),
        seed=settings.seed,
        flip=True,  # drawn cars face either way; flips make the backbones better at no cost (docs/log.md)
    )


def _scale_down(blocks: nn.Sequential) -> None:
    """Scale residual blocks so that together they disturb a trained network as much as one block at SCALE."""
    for block in blocks:
        *_, last = (module for module in block.modules() if isinstance(module, nn.BatchNorm2d))
        nn.init.constant_(last.weight, SCALE / len(blocks) ** 0.5)


def build_shallow(whole: nn.Module, classes: int, *, seed: int) -> nn.Module:
    """A ResNet with one block per layer, of the same type and width as the blocks of `whole`.

    Its tensors have the names and shapes of those in `whole`. Its weights depend only on `seed`.
    """
    assert isinstance(whole, ResNet)
    with fork_seed(seed, "weights", "shallow"):
        model = ResNet(
            type(whole.layer1[0]),
            [1, 1, 1, 1],
            num_classes=classes,
            groups=whole.groups,
            width_per_group=whole.base_width,
        )
    return model.to(memory_format=torch.channels_last)


def pretraining_sets(settings: Pretrain, image_size: int, folder: Path) -> tuple[ImageSet, ImageSet, int]:
    """The images for `weights: demo`: training and validation images, and the number of classes.

    A tenth of the images, at least one of each class, is for validation. They are stored in `folder`.
    """
    kept = Checkpoint("drawn", checkpoint_key((settings, image_size), packages=CODE), folder)
    tensors = kept.load()
    if not tensors:
        tensors = _draw(settings, image_size)
        kept.save(tensors)
    return ImageSet(*tensors["train"]), ImageSet(*tensors["test"]), len(SOURCE)


def _draw(settings: Pretrain, image_size: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of each split, as ImageSet takes them."""
    held_out = max(1, settings.images_per_class // 10)
    train = settings.images_per_class - held_out
    labels = {model.name: label for label, model in enumerate(SOURCE)}
    sets: dict[str, tuple[list, list]] = {"train": ([], []), "test": ([], [])}
    for photograph in photographs(SOURCE, settings.seed, train, held_out):
        pixels = images.resize(images.decode(photograph.data, photograph.name), image_size)
        sets[photograph.split][0].append(torch.from_numpy(pixels))
        sets[photograph.split][1].append(labels[photograph.class_name])
    return {
        split: (torch.stack(pixels).permute(0, 3, 1, 2), torch.tensor(labels))
        for split, (pixels, labels) in sets.items()
    }
