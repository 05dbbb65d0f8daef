"""Pretrained backbones, from which `pretrained: true` variants start."""

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

KEYS = ("state_dict", "model", "model_state_dict")  # under which trainers store the tensors
LAST = "layer4.0.conv1.weight"  # a tensor that every ResNet has once
PARTS = ("conv1.", "bn1.", "layer", "fc.")
NETWORK_TIMEOUT = 30  # seconds without a byte until a download fails


def backbone(params: Params, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` from ImageNet or the file that params' `weights` names: float32, without `fc`.

    Raises InputError if it is not available.
    """
    path = params.weights_file(arch)
    return read_weights(path, arch) if path else imagenet(arch)


def normalisation(params: Params, arch: str) -> Inference:
    """The mean and std that `backbone` expects: ImageNet's, those in the metadata of a file, or the paper's.

    Raises InputError if the metadata of a file has other values than numbers.
    """
    if params.weights == "imagenet":
        return IMAGENET
    path = params.weights_file(arch)
    try:
        return read_normalisation(path) if path else PAPER
    except SafetensorError:  # a file of PyTorch, which has no metadata
        return PAPER


def read_weights(path: Path, arch: str) -> dict[str, Tensor]:
    """The backbone of `arch` in a .safetensors or PyTorch file: float32, without the classifier `fc`.

    The tensors may be under a key, as in checkpoints of Lightning and timm, and their names may have a
    prefix. No code in the file is run. Raises InputError if the file is missing, contains more than tensors
    or is of another architecture.
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
    return checked(_unwrapped(weights, str(path)), arch, str(path))


def _read_pickled(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower():  # a class or function that the file imports
            raise _no_weights(path) from None
        raise InputError(
            f"{path} contains more than tensors, and code in a file is not run. If you trust the file, load "
            "it with weights_only=False and save only its tensors: torch.save(model.state_dict(), PATH)."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError):
        raise _no_weights(path) from None


def _no_weights(path: Path) -> InputError:
    return InputError(f"{path} is neither a safetensors file nor a PyTorch state dict.")


def _unwrapped(weights: object, origin: str) -> object:
    """The dict of tensors in `weights`, with names without the prefix of a trainer or a wrapper.

    Tensors that are not part of a ResNet, such as a projection head, are omitted. Raises InputError if
    `weights` contains several backbones.
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
            f"{origin} contains the backbones {', '.join(prefixes)}: save the tensors of only one of them."
        )
    prefix = "".join(prefixes)
    bare = {
        str(name).removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if str(name).startswith(prefix)
    }
    return {name: tensor for name, tensor in bare.items() if name.startswith(PARTS)} if prefixes else weights


def imagenet(arch: str) -> dict[str, Tensor]:
    """torchvision's IMAGENET1K_V1 backbone of `arch`, downloaded to TORCH_HOME by the first call.

    Raises InputError if the download fails.
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
    """`weights` without `fc` and as float32, if they fit the backbone of `arch`.

    Otherwise raises InputError, which names `origin` and the first tensor that does not fit.
    """
    expected = backbone_of(build_model(arch, 1, seed=0).state_dict())
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{origin} is not a state dict of tensors.")
    state = backbone_of(weights)
    for name in sorted(expected.keys() | state.keys()):
        if name.endswith("num_batches_tracked"):  # an unused counter, which some files lack
            state.setdefault(name, expected[name])
        if name not in state or name not in expected or state[name].shape != expected[name].shape:
            fault = "is missing" if name not in state else "does not fit"
            raise InputError(f"{origin} does not contain the weights of {arch}: its tensor {name} {fault}.")
    return {name: state[name].to(expected[name].dtype) for name in expected}
