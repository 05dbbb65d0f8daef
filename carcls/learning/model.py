"""ResNet variants: which layers there are, which are frozen, and the file a trained one is kept in."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import torchvision
from pydantic import BeforeValidator, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from carcls.errors import InputError
from carcls.files import write_bytes
from carcls.learning.device import fork_seed

MEAN = STD = (0.5, 0.5, 0.5)  # of each channel, paper section 3

Channels = Annotated[
    tuple[float, float, float],
    # older model files have one number for all three
    BeforeValidator(lambda value: [value] * 3 if isinstance(value, float) else value),
]


class Inference(NamedTuple):
    """What comes before and after a network: normalisation, mirror images and temperature."""

    mean: Channels = MEAN
    std: Channels = STD
    tta: str = "none"  # flip: the softmax of an image and that of its mirror image are averaged
    temperature: float = 1.0  # divides the logits (Guo et al. 2017); the first class stays the first


PAPER = Inference()
IMAGENET = Inference((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # what torchvision's weights expect


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself, besides its weights."""

    arch: str
    config: str
    classes: list[str]
    image_size: int
    mean: Channels
    std: Channels
    val_f1: float | None  # None: there was no validation set
    epoch: int
    tta: str = "none"
    temperature: float | None = None  # None: not calibrated
    novelty_threshold: float | None = None  # 95 % of the held-out images are not above it


def build_model(arch: str, classes: int, *, seed: int) -> nn.Module:
    """torchvision's `arch` with `classes` outputs, its weights drawn from `seed` and `arch` alone."""
    with fork_seed(seed, "weights", arch):
        model = torchvision.models.get_model(arch, weights=None, num_classes=classes)
    return model.to(memory_format=torch.channels_last)


def set_inference(model: nn.Module, inference: Inference) -> None:
    """Make `normalise` and `infer` do as `inference` says with `model`; its weights stay as they are."""
    vars(model)["inference"] = inference  # nn.Module's own attributes are tensors and modules


def inference_of(model: nn.Module | None) -> Inference:
    """What `set_inference` was given; the paper's without it."""
    return getattr(model, "inference", PAPER)


def normalise(images: Tensor, model: nn.Module | None = None) -> Tensor:
    """uint8 images or float ones in [0, 1], (n, 3, h, w), as the float32 that `model` takes."""
    mean, std = (_by_channel(values, images.device) for values in inference_of(model)[:2])
    if images.dtype == torch.uint8:
        return images.float().div_(255).sub_(mean).div_(std)
    return (images - mean).div_(std)


def _by_channel(values: Channels, device: torch.device) -> float | Tensor:
    """`values` to calculate with (n, 3, h, w); one number, which is faster, where they are equal."""
    return values[0] if len(set(values)) == 1 else torch.tensor(values, device=device).view(3, 1, 1)


def infer(model: nn.Module, images: Tensor) -> Tensor:
    """The logits (n, classes) of `images` as `normalise` takes them: what `model` answers.

    With test-time augmentation they are the logarithm of the mean of both softmaxes. They are divided by the
    temperature.
    """
    return _merge([model(view) for view in _views(model, images)], inference_of(model))


def infer_with_features(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What `infer` returns, and from the same pass the features of `images`: float32, (n, channels), norm 1.

    Features are the means over space of the outputs of layer3 and layer4, each of norm 1, joined. With
    test-time augmentation they are summed over both views first.
    """
    *stem, layer4, pool, head = model.children()
    logits, features = [], []
    for view in _views(model, images):
        middle = nn.Sequential(*stem)(view)
        deep = pool(layer4(middle)).flatten(1)
        logits.append(head(deep))
        features.append((pool(middle).flatten(1), deep))
    layers = [nn.functional.normalize(sum(views).float()) for views in zip(*features, strict=True)]
    return _merge(logits, inference_of(model)), torch.cat(layers, 1) / math.sqrt(2)


def _views(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The inputs whose answers `_merge` combines: `images` normalised, and their mirror images with TTA."""
    images = normalise(images, model)
    return [images] if inference_of(model).tta == "none" else [images, images.flip(-1)]


def _merge(logits: list[Tensor], inference: Inference) -> Tensor:
    if len(logits) > 1:
        merged = torch.stack(logits).float().log_softmax(2).logsumexp(0) - math.log(len(logits))
    else:
        [merged] = logits
    return merged / inference.temperature


def backbone_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without the classifier `fc`."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def save_backbone(path: Path, backbone: dict[str, Tensor], inference: Inference = PAPER) -> None:
    """Write the state dict `backbone` to a safetensors file; equal content gives equal bytes.

    The file says what images it expects, where that is not the paper's mean and std.
    """
    about = json.dumps({"mean": inference.mean, "std": inference.std})
    _write(path, backbone, None if inference[:2] == PAPER[:2] else {"carcls": about})


def load_backbone(model: nn.Module, path: Path) -> None:
    """Set everything in `model` but its classifier to what `save_backbone` wrote for the same architecture,
    and its mean and std.

    The classifier is set to zeros, as by Kolesnikov et al. 2020 (BiT): on frozen layers, one drawn at random
    keeps much of what was drawn, and its score moves by 0.1 from seed to seed.
    Raises InputError when `path` is missing.
    """
    try:
        backbone = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; `dvc repro` makes it.") from None
    set_inference(model, read_normalisation(path))
    zeros = {
        name: torch.zeros_like(tensor)
        for name, tensor in model.state_dict().items()
        if name.startswith("fc.")
    }
    model.load_state_dict(backbone | zeros)


def read_normalisation(path: Path) -> Inference:
    """The mean and std in the metadata of the safetensors file `path`, the paper's where it has none.

    They are keys of the JSON in the entry `carcls`, as in a model file, or entries `mean` and `std` of their
    own. Raises InputError where they are not three numbers each.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        about = json.loads(metadata["carcls"]) if "carcls" in metadata else metadata
        found = [about.get("mean", MEAN), about.get("std", STD)]
        mean, std = (json.loads(values) if isinstance(values, str) else values for values in found)
        return Inference(*TypeAdapter(tuple[Channels, Channels]).validate_python((mean, std)))
    except (ValueError, AttributeError):
        raise InputError(f"{path}: mean and std in its metadata are not three numbers each.") from None


def _write(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, save(tensors, metadata))


def split_frozen(model: nn.Module, frozen_layers: int) -> tuple[nn.Sequential, nn.Sequential]:
    """`model` as two parts that share its layers: the frozen ones and the trained ones.

    The frozen part is the first `frozen_layers` of the children conv1, bn1, relu, maxpool, layer1 to layer4,
    avgpool, fc (paper, section 4.2), and what follows them without parameters of its own. It takes no
    gradient and stays in evaluation mode, so that its BatchNorm keeps its running statistics too. The second
    part applied to the output of the first is the model.
    """
    layers = list(model.children())
    while frozen_layers and not list(layers[frozen_layers].parameters()):
        frozen_layers += 1
    frozen = nn.Sequential(*layers[:frozen_layers]).requires_grad_(False).eval()
    trained = nn.Sequential(*layers[frozen_layers:-1], nn.Flatten(), layers[-1])
    for part in (frozen, trained):
        set_inference(part, inference_of(model)._replace(tta="none"))
    return frozen, trained


def save_model(path: Path, model: nn.Module, info: ModelInfo) -> None:
    """Write weights and `info` to one safetensors file; equal content gives equal bytes."""
    _write(path, model.state_dict(), {"carcls": json.dumps(asdict(info))})


def load_model(path: Path) -> tuple[nn.Module, ModelInfo]:
    """The model in `path`, in evaluation mode on the CPU, and what the file says of it.

    Raises InputError when the file is missing or was not written by `save_model`.
    """
    with _opened(path) as (file, info):
        with torch.device("meta"):  # drawing weights only to replace them is most of the time this takes
            model = torchvision.models.get_model(info.arch, weights=None, num_classes=len(info.classes))
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()}, assign=True)
    set_inference(model, Inference(info.mean, info.std, info.tta, info.temperature or 1.0))
    return model.to(memory_format=torch.channels_last).eval(), info


def read_info(path: Path) -> ModelInfo:
    """What the model file `path` says of itself; no weights are read. Raises InputError as `load_model`."""
    with _opened(path) as (_, info):
        return info


@contextmanager
def _opened(path: Path) -> Iterator[tuple[safe_open, ModelInfo]]:
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file in it, {path / 'model.safetensors'}.")
    try:
        str(path).encode()  # safetensors takes UTF-8 only
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["carcls"])
            yield file, TypeAdapter(ModelInfo).validate_python(about)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: `carcls train` makes one, `dvc repro` the study's.") from None
    except UnicodeEncodeError:
        raise InputError(f"{path} has a name that is not UTF-8: rename the file or its folder.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError):
        raise InputError(f"{path} is not a model that this project trained.") from None


def check_classes(path: Path, info: ModelInfo, classes: list[str]) -> None:
    """Raise InputError when the model `path` was trained on other classes than `classes`."""
    if info.classes != classes:
        other = sorted(set(info.classes) ^ set(classes))[0]
        where = "the model's" if other in info.classes else "the data's"
        raise InputError(
            f"{path} is not a model of this data: {other!r} is only among {where} classes; train anew."
        )
