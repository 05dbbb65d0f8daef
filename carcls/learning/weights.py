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

from carcls.errors import InputError
from carcls.learning.model import (
    IMAGENET,
    PAPER,
    Inference,
    backbone_of,
    build_model,
    read_normalisation,
)
from carcls.params import Params

log = logging.getLogger(__name__)

KEYS = ("state_dict", "model", "model_state_dict")  # under which trainers keep the tensors
LAST = "layer4.0.conv1.weight"  # a name that every ResNet has once
PARTS = ("conv1.", "bn1.", "layer", "fc.")
NETWORK_TIMEOUT = 30  # seconds without a byte before a download counts as failed


def backbone(params: Params, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` from ImageNet or the file that params' `weights` names: float32, without `fc`.

    Raises InputError when it is not to be had.
    """
    path = params.weights_file(arch)
    return read_weights(path, arch) if path else imagenet(arch)


def normalisation(params: Params, arch: str) -> Inference:
    """The mean and std that `backbone` expects: ImageNet's, a file's by its metadata, else the paper's.

    Raises InputError where the metadata of a file has others than numbers.
    """
    if params.weights == "imagenet":
        return IMAGENET
    path = params.weights_file(arch)
    try:
        return read_normalisation(path) if path else PAPER
    except SafetensorError:  # one of PyTorch's own files, which have no metadata
        return PAPER


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
    expected = backbone_of(build_model(arch, 1, seed=0).state_dict())
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
