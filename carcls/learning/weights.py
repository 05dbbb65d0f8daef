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
from torch import Tensor, nn

from carcls.data import images
from carcls.data.sources import demo
from carcls.errors import InputError
from carcls.learning.checkpoint import FOLDER, Checkpoint, fingerprint
from carcls.learning.device import resolve_device, resolve_precision
from carcls.learning.loading import ImageSet
from carcls.learning.model import backbone_of, build, build_shallow
from carcls.learning.training import Recipe, fit
from carcls.params import Params, Pretrain

log = logging.getLogger(__name__)

KEYS = ("state_dict", "model", "model_state_dict")  # under which trainers keep the tensors
LAST = "layer4.0.conv1.weight"  # a name that every ResNet has once
PARTS = ("conv1.", "bn1.", "layer", "fc.")
WHOLE = 3  # of so many images one teaches the blocks that come to a trained network
NETWORK_TIMEOUT = 30  # seconds without a byte before a download counts as failed


def backbone(params: Params, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` that params' `weights` asks for: float32, without the classifier `fc`.

    Raises InputError when it is not to be had.
    """
    if params.weights == "demo":
        return pretrain(params, arch)
    if params.weights == "imagenet":
        return imagenet(arch)
    path = params.weights_file(arch)
    assert path  # the only other thing that weights can be
    return read_weights(path, arch)


def pretrain(params: Params, arch: str) -> dict[str, Tensor]:
    """A backbone trained from scratch on drawn cars of other makes than the demo's own.

    It is grown: its layers have one block each at first, then all, those that come changing nothing yet (Chen
    et al. 2016, Net2DeeperNet). Whole from the start, it learns less in more time. What architectures have in
    common is trained once: the shallow network is kept as a finished checkpoint, for the next to grow from.
    """
    settings = params.pretrain
    train, val, classes = pretraining_sets(settings, params.data.image_size)
    model = build(arch, classes, seed=settings.seed)
    shallow = build_shallow(model, classes, seed=settings.seed)
    recipe = _pretraining(params, settings.shallow_epochs, settings.lr)
    key = fingerprint((str(shallow), recipe, settings, params.data.image_size))
    for epoch in fit(shallow, train, val, recipe, checkpoint=Checkpoint("shallow", key, FOLDER.parent)):
        log.info("pretraining one block a layer, %s", epoch)
    model.load_state_dict(shallow.state_dict(), strict=False)
    for layer in model.children():
        if isinstance(layer, nn.Sequential):
            _as_identities(layer[1:])
    some = train.select(torch.arange(0, len(train), WHOLE))
    recipe = _pretraining(params, settings.epochs, settings.lr / 8)
    checkpoint = Checkpoint(f"pretrain-{arch}", fingerprint((arch, key, recipe, len(some))))
    for epoch in fit(model, some, val, recipe, checkpoint=checkpoint):
        log.info("pretraining %s, %s", arch, epoch)
    checkpoint.remove()
    return backbone_of(model.state_dict())


def _pretraining(params: Params, epochs: int, lr: float) -> Recipe:
    settings, device = params.pretrain, resolve_device(params.train.device)
    return Recipe(
        frozen_layers=0,
        epochs=epochs,
        patience=epochs,
        optimizer="adamw",
        batch_size=settings.batch_size,
        lr=lr,
        head_lr_multiplier=1,
        weight_decay=settings.weight_decay,
        device=device,
        precision=resolve_precision(params.train.precision, device),
        seed=settings.seed,
    )


def _as_identities(blocks: nn.Sequential) -> None:
    """Make residual blocks give what they are given: the scale of their last BatchNorm is set to zero."""
    for block in blocks:
        *_, last = (module for module in block.modules() if isinstance(module, nn.BatchNorm2d))
        nn.init.zeros_(last.weight)


def read_weights(path: Path, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` in a .safetensors or PyTorch file: float32, without the classifier `fc`.

    The tensors may lie under a key, as in Lightning's and timm's checkpoints, and their names may have a
    prefix of what they were trained in. No code of the file is run. Raises InputError when the file is
    missing, holds more than tensors or is of another architecture.
    """
    weights: object
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise InputError(
            f"The pretrained weights {path.absolute()} are missing: check weights in params.yaml."
        ) from None
    except SafetensorError:
        weights = _read_pickled(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    return checked(_bare(weights, str(path)), arch, str(path))


def _read_pickled(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower():  # what the file asks to import, such as a class
            raise _no_weights(path) from None
        raise InputError(
            f"{path} holds more than tensors, and no code of a file is run here: where you trust it, load it "
            "with weights_only=False and save its tensors alone, torch.save(model.state_dict(), PATH)."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError):
        raise _no_weights(path) from None


def _no_weights(path: Path) -> InputError:
    return InputError(f"{path} is neither a safetensors file nor a PyTorch state dict.")


def _bare(weights: object, origin: str) -> object:
    """The mapping of tensors in `weights`, its names without what a trainer or a wrapper put before them.

    What is no part of a ResNet, such as a projection head, is left. Raises InputError when `weights` holds
    several backbones.
    """
    while isinstance(weights, dict):
        inner = next((weights[key] for key in KEYS if isinstance(weights.get(key), dict)), None)
        if inner is None:
            break
        weights = inner
    if not isinstance(weights, dict):
        return weights
    names = {str(name) for name in weights}
    prefixes = sorted(
        name.removesuffix(LAST)
        for name in names
        if name.endswith(LAST) and name.removesuffix(LAST) + "conv1.weight" in names
    )
    if len(prefixes) > 1:
        raise InputError(
            f"{origin} holds the backbones {', '.join(prefixes)}: save the tensors of one of them alone."
        )
    prefix = "".join(prefixes)
    bare = {
        str(name).removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if str(name).startswith(prefix)
    }
    return {name: tensor for name, tensor in bare.items() if name.startswith(PARTS)} if prefixes else weights


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


def checked(weights: object, arch: str, origin: str) -> dict[str, Tensor]:
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


def pretraining_sets(settings: Pretrain, image_size: int) -> tuple[ImageSet, ImageSet, int]:
    """The source task of `weights: demo`: train and val images and the number of classes.

    A tenth of the images, at least one of each class, is for validation. They are kept once they are drawn.
    """
    kept = Checkpoint("drawn", fingerprint((settings, image_size)), FOLDER.parent)
    tensors = kept.load()
    if not tensors:
        tensors = _draw(settings, image_size)
        kept.save(tensors)
    return ImageSet(*tensors["train"]), ImageSet(*tensors["test"]), len(demo.SOURCE)


def _draw(settings: Pretrain, image_size: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of each split, as ImageSet takes them."""
    held_out = max(1, settings.images_per_class // 10)
    train = settings.images_per_class - held_out
    labels = {model.name: label for label, model in enumerate(demo.SOURCE)}
    sets: dict[str, tuple[list, list]] = {"train": ([], []), "test": ([], [])}
    for photograph in demo.photographs(demo.SOURCE, settings.seed, train, held_out):
        pixels = images.resize(images.decode(photograph.data, photograph.name), image_size)
        sets[photograph.split][0].append(torch.from_numpy(pixels))
        sets[photograph.split][1].append(labels[photograph.class_name])
    return {
        split: (torch.stack(pixels).permute(0, 3, 1, 2), torch.tensor(labels))
        for split, (pixels, labels) in sets.items()
    }
