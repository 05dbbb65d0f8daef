"""ResNets: their layers, which of these are frozen, and model files."""

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
    """The metadata of a model file."""

    arch: str
    config: str
    classes: list[str]
    image_size: int
    mean: Channels
    std: Channels
    val_f1: float | None  # None: no validation set
    epoch: int
    tta: str = "none"
    temperature: float | None = None  # None: not calibrated
    novelty_threshold: float | None = None  # 95 % of the held-out images are not above it


def build_model(arch: str, classes: int, *, seed: int) -> nn.Module:
    """torchvision's `arch` with `classes` outputs. Its weights depend only on `seed` and `arch`."""
    with fork_seed(seed, "weights", arch):
        model = torchvision.models.get_model(arch, weights=None, num_classes=classes)
    return model.to(memory_format=torch.channels_last)


def set_inference(model: nn.Module, inference: Inference) -> None:
    """Set how `normalise` and `infer` treat `model`. Its weights do not change."""
    vars(model)["inference"] = inference  # nn.Module declares its attributes as tensors and modules


def inference_of(model: nn.Module | None) -> Inference:
    """The last argument of `set_inference`, or the paper's values."""
    return getattr(model, "inference", PAPER)


def normalise(images: Tensor, model: nn.Module | None = None) -> Tensor:
    """`images` (uint8, or float in [0, 1], (n, 3, h, w)) as the float32 input of `model`."""
    mean, std = (_by_channel(values, images.device) for values in inference_of(model)[:2])
    if images.dtype == torch.uint8:
        return images.float().div_(255).sub_(mean).div_(std)
    return (images - mean).div_(std)


def _by_channel(values: Channels, device: torch.device) -> float | Tensor:
    """`values` for operations with (n, 3, h, w): one number, which is faster, if they are equal."""
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
    """Write the state dict `backbone` to a safetensors file. Equal content gives equal bytes.

    The metadata has the mean and std of the images that it expects, unless they are the paper's.
    """
    about = json.dumps({"mean": inference.mean, "std": inference.std})
    _write(path, backbone, None if inference[:2] == PAPER[:2] else {"carcls": about})


def load_backbone(model: nn.Module, path: Path) -> None:
    """Set the weights of `model`, and its mean and std, to what `save_backbone` wrote to `path`.

    The classifier is set to zeros, as in BiT (Kolesnikov et al. 2020). On frozen layers, a random classifier
    keeps much of its initial values, so that F1 varies by 0.1 between seeds. Raises InputError if `path` is
    missing.
    """
    try:
        backbone = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run `dvc repro` to create it.") from None
    set_inference(model, read_normalisation(path))
    zeros = {
        name: torch.zeros_like(tensor)
        for name, tensor in model.state_dict().items()
        if name.startswith("fc.")
    }
    model.load_state_dict(backbone | zeros)


def read_normalisation(path: Path) -> Inference:
    """The mean and std in the metadata of the safetensors file `path`, or the paper's if it has none.

    They are keys of the JSON in the entry `carcls`, as in a model file, or entries `mean` and `std`. Raises
    InputError if they are not three numbers each.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        about = json.loads(metadata["carcls"]) if "carcls" in metadata else metadata
        values = [about.get("mean", MEAN), about.get("std", STD)]
        mean, std = (json.loads(value) if isinstance(value, str) else value for value in values)
        return Inference(*TypeAdapter(tuple[Channels, Channels]).validate_python((mean, std)))
    except (ValueError, AttributeError):
        raise InputError(f"{path}: mean and std in its metadata are not three numbers each.") from None


def _write(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, save(tensors, metadata))


def split_frozen(model: nn.Module, frozen_layers: int) -> tuple[nn.Sequential, nn.Sequential]:
    """`model` as two parts that share its layers: the frozen layers and the trained layers.

    The frozen part is the first `frozen_layers` of the children conv1, bn1, relu, maxpool, layer1 to layer4,
    avgpool, fc (paper, section 4.2), and the children without parameters that follow. It computes no gradient
    and stays in evaluation mode, so its BatchNorm layers keep their running statistics too. The second part,
    applied to the output of the first, computes the output of the model.
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
    """Write weights and `info` to one safetensors file. Equal content gives equal bytes."""
    _write(path, model.state_dict(), {"carcls": json.dumps(asdict(info))})


def load_model(path: Path) -> tuple[nn.Module, ModelInfo]:
    """The model in `path`, in evaluation mode on the CPU, and its metadata.

    Raises InputError if the file is missing or was not written by `save_model`.
    """
    with _opened(path) as (file, info):
        with torch.device("meta"):  # drawing initial weights would take most of the time
            model = torchvision.models.get_model(info.arch, weights=None, num_classes=len(info.classes))
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()}, assign=True)
    set_inference(model, Inference(info.mean, info.std, info.tta, info.temperature or 1.0))
    return model.to(memory_format=torch.channels_last).eval(), info


def read_info(path: Path) -> ModelInfo:
    """The metadata of the model file `path`. Reads no weights. Raises InputError like `load_model`."""
    with _opened(path) as (_, info):
        return info


@contextmanager
def _opened(path: Path) -> Iterator[tuple[safe_open, ModelInfo]]:
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file in it, {path / 'model.safetensors'}.")
    try:
        str(path).encode()  # safetensors opens only paths in UTF-8
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["carcls"])
            yield file, TypeAdapter(ModelInfo).validate_python(about)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run `carcls train`, or `dvc repro` for the study.") from None
    except UnicodeEncodeError:
        raise InputError(f"{path} has a name that is not UTF-8: rename the file or its folder.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError):
        raise InputError(f"{path} is not a model that this project trained.") from None


def check_classes(path: Path, info: ModelInfo, classes: list[str]) -> None:
    """Raise InputError if the model `path` was not trained on `classes`."""
    if info.classes != classes:
        other = sorted(set(info.classes) ^ set(classes))[0]
        where = "the model's" if other in info.classes else "the data's"
        raise InputError(
            f"{path} is not a model of this data: {other!r} is only among {where} classes; train it again."
        )
