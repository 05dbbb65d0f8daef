"""Novelty: the distance of an image to the training images, to recognise unknown images (Sun et al. 2022).

The paper uses only the features of the last layer, which separate other data sets less well:
docs/training.md.
"""

from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from carcls.files import write_bytes

NEIGHBOURS = 5  # benchmarks.novelty
KEPT = 0.95  # share of the held-out images with a novelty up to the threshold


class TrainingFeatures:
    """The features of the training images, in the order of the originals in train.tar."""

    def __init__(self, features: Tensor) -> None:
        """`features`: (n, channels) of L2 norm 1, see `model.infer_with_features`."""
        self._features = features

    @classmethod
    def load(cls, path: Path) -> "TrainingFeatures":
        return cls(load_file(path)["features"].float())

    def save(self, path: Path) -> None:
        write_bytes(path, save({"features": self._features.half()}))

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine distances to the NEIGHBOURS nearest training images, ascending, and their indices.

        `features` as in the constructor, (m, channels). The shape of both results is (m, NEIGHBOURS), or
        (m, n) with fewer training images. The last distance is the novelty of an image: 0 for a copy of
        training images, 1 for features that are orthogonal to theirs.
        """
        count = min(NEIGHBOURS, len(self._features))
        similarities, places = (features @ self._features.T).topk(count)
        return (1 - similarities).clamp(min=0), places
