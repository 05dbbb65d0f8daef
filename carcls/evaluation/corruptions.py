"""Common corruptions (Hendrycks and Dietterich 2019), such as noise, blur and compression.

Severities range from 1 (mild) to 3 (strong). The strengths lie between those of CIFAR-10-C (32 pixels) and
ImageNet-C (224 pixels). These data sets have several kinds of noise and blur; this module has one of each. It
adds rotation.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from carcls.base.seeds import generator
from carcls.evaluation.scores import predict
from carcls.imageset import operations
from carcls.imageset.images import encode, imdecode
from carcls.learning.loading import ImageSet

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = 3

# --- The corruptions: uint8 RGB of shape (size, size, 3) in, a new image of that shape out.


def noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise. `std` is a share of the value range."""
    return operations.gauss_noise(image, std, int(rng.integers(2**32)))


def blur(image: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Box blur. `radius` is a share of the image side."""
    return operations.blur(image, 2 * ceil(radius * len(image)) + 1)


def brightness(image: np.ndarray, increase: float, rng: np.random.Generator) -> np.ndarray:
    """Add `increase`, a share of the value range."""
    return operations.brightness_contrast(image, increase, 0)


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply the distance from mid grey by `factor`."""
    return operations.brightness_contrast(image, (1 - factor) / 2, factor - 1)


def jpeg(image: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    return imdecode(encode(image, quality))


def pixelation(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce the image to `share` of its side, then enlarge the pixels."""
    size = len(image)
    small = cv2.resize(image, (round(share * size),) * 2, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_NEAREST)


def rotation(image: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate in a random direction."""
    return operations.rotate(image, degrees * rng.choice((-1, 1)))


CORRUPTIONS: dict[str, tuple[Callable[..., np.ndarray], tuple[float, ...]]] = {  # strengths by severity
    "noise": (noise, (0.05, 0.1, 0.2)),
    "blur": (blur, (1 / 64, 1 / 32, 3 / 64)),
    "brightness": (brightness, (0.1, 0.2, 0.4)),
    "contrast": (contrast, (0.7, 0.4, 0.2)),
    "JPEG": (jpeg, (50, 25, 10)),
    "pixelation": (pixelation, (0.75, 0.5, 0.25)),
    "rotation": (rotation, (7, 15, 30)),
}


class Corrupted(ImageSet):
    """`images` after one of CORRUPTIONS. Consecutive images have severity 1, 2, 3, 1, ...

    `severities` is int64 of shape (n,), from 1 to SEVERITIES.
    """

    def __init__(self, images: ImageSet, name: str, seed: int) -> None:
        self.labels, self.size, self._images = images.labels, images.size, None
        self._originals, self._name, self._seed = images, name, seed
        # start each corruption at another severity, so that no image gets the same severity every time
        first = list(CORRUPTIONS).index(name)
        self.severities = 1 + (torch.arange(len(images)) + first) % SEVERITIES

    def read(self, places: Sequence[int] | Tensor) -> Tensor:
        pixels = self._originals.read(places).permute(0, 2, 3, 1).numpy()
        corrupt, strengths = CORRUPTIONS[self._name]
        made = []
        for place, image in zip(map(int, places), pixels, strict=True):
            rng = generator(self._seed, "corruption", self._name, place)
            made.append(corrupt(image, strengths[self.severities[place] - 1], rng))
        return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)


def corruptions(
    model: nn.Module, images: ImageSet, device: torch.device, seed: int, name: object = "The model"
) -> "pd.DataFrame":
    """Columns corruption, severity, images, accuracy: scores of `model` on `images` after each corruption.

    Each corruption is applied to every image once. Raises InputError like `scores.predict`, with `name`.
    """
    import pandas as pd

    tables = []
    for corruption in CORRUPTIONS:
        corrupted = Corrupted(images, corruption, seed)
        right = predict(model, corrupted, device, name).argmax(1) == corrupted.labels
        answers = pd.DataFrame({"severity": corrupted.severities.numpy(), "right": right.numpy()})
        groups = answers.groupby("severity").right
        table = pd.DataFrame({"images": groups.size(), "accuracy": groups.mean()}).reset_index()
        tables.append(table.assign(corruption=corruption))
    columns = ["corruption", "severity", "images", "accuracy"]
    return pd.concat(tables, ignore_index=True)[columns]
