"""A trained model on pictures of the user's own: what the command line and the web page answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import nn

from carcls.errors import InputError
from carcls.evaluation import gradcam
from carcls.evaluation.attack_image import attack_image
from carcls.evaluation.example import AttackResult, AttackSpec
from carcls.evaluation.scores import predict
from carcls.imageset import images
from carcls.learning.device import resolve_device
from carcls.learning.loading import ImageSet
from carcls.learning.model import ModelInfo, load_model

TOP = 15  # classes told (paper, section 6)


@dataclass(frozen=True)
class Classifier:
    """A model, what its file says of it, and where it computes."""

    model: nn.Module
    info: ModelInfo
    device: torch.device
    path: Path

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """The model file `path` on the best device there is. Raises InputError as `model.load_model`."""
        return cls(*load_model(path), resolve_device("auto"), path)

    def prepare(self, data: bytes, name: str) -> np.ndarray:
        """The picture in `data` as the model sees it: uint8 RGB, (image_size, image_size, 3).

        Decoded and rescaled as the augment stage does it. Raises InputError, naming `name`, when it is no
        image that `images.decode` reads.
        """
        return images.resize(images.decode(data, name), self.info.image_size)

    def predict(self, image: str | Path | np.ndarray, count: int = TOP) -> list[tuple[str, float]]:
        """The `count` most probable classes of an image with their probabilities, best first.

        `image` is a file or an array, uint8 RGB of shape (height, width, 3). Raises OSError when the file
        cannot be read, InputError for another array or a file that is no image, and as `tops`.
        """
        if not isinstance(image, np.ndarray):
            return self.tops([self.prepare(Path(image).read_bytes(), str(image))], count)[0]
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise InputError(
                f"The image is {image.dtype} of shape {image.shape}: convert it to uint8 RGB of shape "
                "(height, width, 3)."
            )
        return self.tops([images.resize(image, self.info.image_size)], count)[0]

    def top(self, image: np.ndarray) -> list[tuple[str, float]]:
        """The TOP most probable classes of what `prepare` made, with their probabilities, best first."""
        return self.tops([image])[0]

    def tops(self, images: Sequence[np.ndarray], count: int = TOP) -> list[list[tuple[str, float]]]:
        """For each of `images` its `count` most probable classes, as `top`.

        In the company of others its probabilities can differ in their last bits. Raises InputError, naming
        the model file, when one is not finite.
        """
        logits = predict(self.model, self._set(np.stack(images)), self.device, self.path)
        probabilities = logits.softmax(1)
        order = probabilities.argsort(dim=1, descending=True, stable=True)[:, :count]
        return [
            [(self.info.classes[place], row[place].item()) for place in places.tolist()]
            for row, places in zip(probabilities, order, strict=True)
        ]

    def looks(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """For each of `images` how much its parts contribute to the class in `names`, as `gradcam.heat`."""
        answers = torch.tensor([self.info.classes.index(name) for name in names])
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return list(gradcam.heat(self.model, pixels, answers, self.device).numpy())

    def heat_title(self) -> str:
        """What `looks` returns, with the layer that it is computed from."""
        return f"Grad-CAM of {gradcam.layer(self.info.image_size)}"

    def attack(self, image: np.ndarray, name: str, spec: AttackSpec, seed: int) -> AttackResult:
        """What `prepare` made under `means`: away from the model's own answer, or towards their target.

        Raises InputError where the model does not know that, and as `tops`.
        """
        target = None if spec.target is None else self._place(spec.target)
        images = self._set(image[None])
        answer = int(predict(self.model, images, self.device, self.path)[0].argmax())
        pixels = images.read([0]).to(self.device).float() / 255
        return attack_image(self.model, pixels, answer, name, self.info.classes, spec, target, seed)

    def _place(self, name: str) -> int:
        """The place of the class `name`."""
        if name in self.info.classes:
            return self.info.classes.index(name)
        folded = {known.casefold(): known for known in self.info.classes}
        nearest = [folded[match] for match in get_close_matches(name.casefold(), folded, cutoff=0)]
        raise InputError(
            f"The model does not know the class {name!r}: the nearest of its {len(self.info.classes)} are "
            f"{', '.join(map(repr, nearest))}."
        )

    def _set(self, images: np.ndarray) -> ImageSet:
        labels = torch.zeros(len(images), dtype=torch.int64)
        return ImageSet(torch.from_numpy(images).permute(0, 3, 1, 2), labels)
