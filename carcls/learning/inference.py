"""A trained model on pictures of the user's own: what the command line and the web page answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from carcls.data import images
from carcls.learning.attack import examples
from carcls.learning.device import resolve_device
from carcls.learning.evaluation import predict
from carcls.learning.example import Example
from carcls.learning.loading import ImageSet
from carcls.learning.model import ModelInfo, load_model

TOP = 15  # classes told (paper, section 6)


@dataclass(frozen=True)
class Classifier:
    """A model, what its file says of it, and where it computes."""

    model: nn.Module
    info: ModelInfo
    device: torch.device

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """The model file `path` on the best device there is. Raises InputError as `model.load_model`."""
        return cls(*load_model(path), resolve_device("auto"))

    def prepare(self, data: bytes, name: str) -> np.ndarray:
        """The picture in `data` as the model sees it: uint8 RGB, (image_size, image_size, 3).

        Decoded and rescaled as the augment stage does it. Raises InputError, naming `name`, when it is no
        image that `images.decode` reads.
        """
        return images.resize(images.decode(data, name), self.info.image_size)

    def top(self, image: np.ndarray) -> list[tuple[str, float]]:
        """The TOP most probable classes of what `prepare` made, with their probabilities, best first."""
        return self.tops([image])[0]

    def tops(self, images: Sequence[np.ndarray], count: int = TOP) -> list[list[tuple[str, float]]]:
        """For each of `images` its `count` most probable classes, as `top`.

        In the company of others its probabilities can differ in their last bits.
        """
        probabilities = predict(self.model, self._set(np.stack(images)), self.device).softmax(1)
        order = probabilities.argsort(dim=1, descending=True, stable=True)[:, :count]
        return [
            [(self.info.classes[place], row[place].item()) for place in places.tolist()]
            for row, places in zip(probabilities, order, strict=True)
        ]

    def looks(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """For each of `images` how much its places speak for the class in `names`, as `gradcam.heat`."""
        from carcls.learning.gradcam import heat  # its library brings matplotlib, which answers do without

        answers = torch.tensor([self.info.classes.index(name) for name in names])
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return list(heat(self.model, pixels, answers, self.device).numpy())

    def attack(self, image: np.ndarray, name: str, epsilon: float) -> Example:
        """Figure 5's row for what `prepare` made: moved by `epsilon` away from the model's own answer."""
        answer = int(predict(self.model, self._set(image[None]), self.device)[0].argmax())
        attacked = self._set(image[None], answer)
        return examples(self.model, attacked, [0], [name], self.info.classes, epsilon, self.device)[0]

    def _set(self, images: np.ndarray, label: int = 0) -> ImageSet:
        labels = torch.full([len(images)], label)
        return ImageSet(torch.from_numpy(images).permute(0, 3, 1, 2), labels)
