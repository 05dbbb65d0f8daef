"""Predictions of a trained model for single images, for the command line, the web page and Python."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import nn

from carcls.errors import InputError
from carcls.evaluation import gradcam
from carcls.evaluation.attack_image import attack_image
from carcls.evaluation.example import AttackResult, AttackSpec
from carcls.evaluation.novelty import TrainingFeatures
from carcls.evaluation.scores import predict, predict_with_features
from carcls.files import FEATURES
from carcls.imageset import images
from carcls.learning.device import resolve_device
from carcls.learning.loading import ImageSet
from carcls.learning.model import ModelInfo, load_model

TOP = 15  # classes per prediction (paper, section 6)
UNKNOWN = "none of these"


@dataclass(frozen=True)
class Answer:
    """The prediction for one image."""

    top: list[tuple[str, float]]  # the most probable classes with their probabilities, best first
    novelty: float | None = None  # see `novelty.TrainingFeatures.nearest`; None: not measured
    is_unknown: bool = False  # the novelty is above the model's threshold
    nearest: list[int] = field(default_factory=list)  # places of the nearest training images, nearest first

    def classes(self, reject: bool) -> list[tuple[str, float | None]]:
        """`top`; with `reject`, for an unknown image UNKNOWN alone, without a probability."""
        return [(UNKNOWN, None)] if reject and self.is_unknown else [*self.top]


@dataclass(frozen=True)
class Classifier:
    """A model with its metadata, its device and the features of its training images."""

    model: nn.Module
    info: ModelInfo
    device: torch.device
    path: Path
    training: TrainingFeatures | None = None  # None: no novelty

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Load the model file `path` to the best device. Raises InputError as `model.load_model`."""
        model, info = load_model(path)
        features = path.with_name(FEATURES)
        known = info.novelty_threshold is not None and features.exists()
        training = TrainingFeatures.load(features) if known else None
        return cls(model, info, resolve_device("auto"), path, training)

    def check_novelty(self) -> None:
        """Raise InputError if the novelty of images cannot be measured."""
        if self.info.novelty_threshold is None:
            raise InputError(
                f"{self.path} cannot recognise unknown images: it has no novelty threshold. Models of "
                "`carcls train` have one, except those of earlier versions and of --folds: train it again."
            )
        if self.training is None:
            raise InputError(
                f"{self.path.with_name(FEATURES)} is missing, which is needed to recognise unknown images: "
                "copy it from the results folder of the model, or train again."
            )

    def prepare(self, data: bytes, name: str) -> np.ndarray:
        """The image file `data` as input of the model: uint8 RGB of shape (image_size, image_size, 3).

        Decoded and rescaled as in the augment stage. Raises InputError, which names `name`, if
        `images.decode` cannot read it.
        """
        return images.resize(images.decode(data, name), self.info.image_size)

    def predict(self, image: str | Path | np.ndarray, count: int = TOP) -> Answer:
        """The `count` most probable classes of an image, its novelty and its nearest training images.

        `image` is a file or a uint8 RGB array of shape (height, width, 3). Raises OSError if the file cannot
        be read, InputError if it is not an image or the array has another type or shape, and as `answers`.
        """
        if not isinstance(image, np.ndarray):
            return self.answers([self.prepare(Path(image).read_bytes(), str(image))], count)[0]
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise InputError(
                f"The image is {image.dtype} of shape {image.shape}: convert it to uint8 RGB of shape "
                "(height, width, 3)."
            )
        return self.answers([images.resize(image, self.info.image_size)], count)[0]

    def answer(self, image: np.ndarray) -> Answer:
        """The prediction for an image that `prepare` returned."""
        return self.answers([image])[0]

    def answers(self, images: Sequence[np.ndarray], count: int = TOP) -> list[Answer]:
        """The `count` most probable classes, the novelty and the nearest images of each of `images`.

        Probabilities are calibrated if the model has a temperature. Their last bits can depend on the number
        of images. Raises InputError, which names the model file, if a probability is not finite.
        """
        logits, features = predict_with_features(
            self.model, self._set(np.stack(images)), self.device, self.path
        )
        probabilities = logits.softmax(1)
        order = probabilities.argsort(dim=1, descending=True, stable=True)[:, :count]
        tops = [
            [(self.info.classes[place], row[place].item()) for place in places.tolist()]
            for row, places in zip(probabilities, order, strict=True)
        ]
        if self.training is None:
            return [Answer(top) for top in tops]
        distances, places = self.training.nearest(features)
        novelties = distances[:, -1].tolist()
        return [
            Answer(top, novelty, novelty > self.info.novelty_threshold, near)
            for top, novelty, near in zip(tops, novelties, places.tolist(), strict=True)
        ]

    def looks(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """The Grad-CAM heat map of each of `images` for the class in `names`, as `gradcam.heat`."""
        answers = torch.tensor([self.info.classes.index(name) for name in names])
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return list(gradcam.heat(self.model, pixels, answers, self.device).numpy())

    def heat_title(self) -> str:
        """The title of the maps of `looks`, with the layer that they are computed from."""
        return f"Grad-CAM of {gradcam.layer(self.info.image_size)}"

    def attack(self, image: np.ndarray, name: str, spec: AttackSpec, seed: int) -> AttackResult:
        """Attack an image that `prepare` returned: away from the prediction, or towards the target of `spec`.

        Raises InputError if the model does not know the target, and as `answers`.
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
