"""How far an image is from the training images: what a model was not trained for (Sun et al. 2022).

The features of the last layer alone (their paper) recognise other data sets less well: docs/training.md.
"""

from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from carcls.files import write_bytes

NEIGHBOURS = 5  # benchmarks.novelty
KEPT = 0.95  # share of the held-out images that the threshold keeps


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
        """Cosine distances to the NEIGHBOURS nearest training images, ascending, and the places of these.

        `features` as in the constructor, (m, channels). Both results are (m, NEIGHBOURS), with fewer training
        images (m, n). The last distance is the novelty of an image: 0 for a copy of the training images,
        1 for features that have nothing in common with them.
        """
        count = min(NEIGHBOURS, len(self._features))
        similarities, places = (features @ self._features.T).topk(count)
        return (1 - similarities).clamp(min=0), places
