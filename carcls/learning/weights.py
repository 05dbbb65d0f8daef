"""Pretrained backbones: where `pretrained: true` variants start."""

import logging
import pickle
import socket
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from carcls.data import images
from carcls.data.sources import demo
from carcls.errors import InputError
from carcls.learning.checkpoint import Checkpoint, fingerprint
from carcls.learning.device import resolve_device, resolve_precision
from carcls.learning.loading import ImageSet
from carcls.learning.model import backbone_of, build
from carcls.learning.training import Recipe, fit
from carcls.params import Params, Pretrain

log = logging.getLogger(__name__)

NETWORK_TIMEOUT = 30  # seconds without a byte before a download counts as failed


def backbone(params: Params, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` that params' `weights` asks for: float32, without the classifier `fc`.

    Raises InputError when it is not to be had.
    """
    if params.weights == "demo":
        return pretrain(params, arch)
    if params.weights == "imagenet":
        return imagenet(arch)
    return read_weights(Path(params.weights.replace("{arch}", arch)), arch)


def pretrain(params: Params, arch: str) -> dict[str, Tensor]:
    """A backbone trained from scratch on drawn cars of other makes than the demo's own."""
    settings = params.pretrain
    device = resolve_device(params.train.device)
    train, val, classes = pretraining_sets(settings, params.data.image_size, params.seed)
    model = build(arch, classes, seed=params.seed)
    recipe = Recipe(
        frozen_layers=0,
        epochs=settings.epochs,
        patience=settings.epochs,
        optimizer="adamw",
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        device=device,
        precision=resolve_precision(params.train.precision, device),
        seed=params.seed,
    )
    checkpoint = Checkpoint(f"pretrain-{arch}", fingerprint((arch, recipe, settings, params.data.image_size)))
    for epoch in fit(model, train, val, recipe, checkpoint=checkpoint):
        log.info("pretraining %s, %s", arch, epoch)
    checkpoint.remove()
    return backbone_of(model.state_dict())


def read_weights(path: Path, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` in a .safetensors or .pth file: float32, without the classifier `fc`.

    A .pth is read without running code from it. Raises InputError when the file is missing, is neither, or
    is of another architecture.
    """
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"The pretrained weights {path} are missing: check weights in params.yaml."
        ) from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError):
        raise InputError(f"{path} is neither a safetensors file nor a PyTorch state dict.") from None
    return checked(weights, arch, str(path))


def imagenet(arch: str) -> dict[str, Tensor]:
    """torchvision's IMAGENET1K_V1 backbone of `arch`, downloaded into TORCH_HOME the first time.

    Raises InputError when it is not there and cannot be downloaded.
    """
    weights = torchvision.models.get_model_weights(arch)
    weights = getattr(weights, "IMAGENET1K_V1", None) or weights.DEFAULT  # one architecture has no V1
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise InputError(
            f"The ImageNet weights of {arch} could not be downloaded ({error}): connect to a network, put "
            f"{Path(weights.url).name} into {torch.hub.get_dir()}/checkpoints, or set weights to a file."
        ) from None
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise InputError(
            f"The ImageNet weights of {arch} are damaged ({error}): delete {Path(weights.url).name} from "
            f"{torch.hub.get_dir()}/checkpoints and run again."
        ) from None
    finally:
        socket.setdefaulttimeout(previous)
    return checked(state, arch, weights.url)


def checked(weights: dict[str, Tensor], arch: str, origin: str) -> dict[str, Tensor]:
    """`weights` without `fc` and as float32, once they are known to fit the backbone of `arch`.

    Raises InputError, naming `origin` and the first tensor that does not fit.
    """
    expected = backbone_of(build(arch, 1, seed=0).state_dict())
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{origin} is not a state dict of tensors.")
    found = backbone_of(weights)
    for name in sorted(expected.keys() | found.keys()):
        if name.endswith("num_batches_tracked"):  # a counter that nothing here reads; some files lack it
            found.setdefault(name, expected[name])
        if name not in found or name not in expected or found[name].shape != expected[name].shape:
            fault = "is missing" if name not in found else "does not fit"
            raise InputError(f"{origin} does not hold the weights of {arch}: its tensor {name} {fault}.")
    return {name: found[name].to(expected[name].dtype) for name in expected}


def pretraining_sets(settings: Pretrain, image_size: int, seed: int) -> tuple[ImageSet, ImageSet, int]:
    """The source task of `weights: demo`: train and val images and the number of classes.

    A tenth of the images, at least one of each class, is for validation.
    """
    held_out = max(1, settings.images_per_class // 10)
    train = settings.images_per_class - held_out
    labels = {model.name: label for label, model in enumerate(demo.SOURCE)}
    sets: dict[str, tuple[list, list]] = {"train": ([], []), "test": ([], [])}
    for photograph in demo.photographs(demo.SOURCE, seed, train, held_out):
        pixels = images.resize(images.decode(photograph.data, photograph.name), image_size)
        sets[photograph.split][0].append(torch.from_numpy(pixels))
        sets[photograph.split][1].append(labels[photograph.class_name])
    train_set, val_set = (
        ImageSet(torch.stack(pixels).permute(0, 3, 1, 2), torch.tensor(labels))
        for pixels, labels in sets.values()
    )
    return train_set, val_set, len(labels)
