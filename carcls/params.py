"""params.yaml as typed, checked values. No other module reads that file."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from carcls.base.variants import variant_name
from carcls.errors import InputError

PATH = Path("params.yaml")

Arch = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
Optimizer = Literal["adamw", "adam", "sgd"]
Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Strength = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of params.yaml. Every key is required, unknown keys are errors, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Demo(Section):
    seed: Natural
    train_per_class: Annotated[int, Field(ge=2)]
    test_per_class: Natural


class Kaggle(Section):
    dataset: Annotated[str, StringConstraints(pattern=r"^[\w-]+/[\w-]+$")]


class Data(Section):
    source: Literal["demo", "folder", "kaggle"]
    folder: Text | None
    labels: Text | None
    kaggle: Kaggle
    demo: Demo
    skip_unreadable: bool
    image_size: Annotated[int, Field(ge=32, le=1024)]

    @model_validator(mode="after")
    def _folder_is_named(self):
        if self.source == "folder" and self.folder is None:
            raise ValueError("data.source is folder, but data.folder is null: set it to a folder")
        return self


class Split(Section):
    val: Fraction | None
    test: Fraction | None
    drop_duplicates: bool
    group_near_duplicates: bool
    folds: Annotated[int, Field(ge=2)] | None

    @model_validator(mode="after")
    def _all_train(self):
        if self.folds and self.val is not None:
            raise ValueError(
                f"folds is {self.folds}, so that all images train and are tested in turn, but val is "
                f"{self.val}: set split.folds or split.val to null"
            )
        return self


class PerClass(Section):
    train: Count | None
    val: Count | None


class BrightnessContrast(Section):
    brightness: Strength
    contrast: Strength


class Gamma(Section):
    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _in_order(self):
        if self.low > self.high:
            raise ValueError("low must not be greater than high")
        return self


class Rotate(Section):
    degrees: Annotated[float, Field(gt=0, le=180)]


class RGBShift(Section):
    limit: Annotated[int, Field(ge=0, le=255)]


class GaussNoise(Section):
    std_low: Strength
    std_high: Strength

    @model_validator(mode="after")
    def _in_order(self):
        if self.std_low > self.std_high:
            raise ValueError("std_low must not be greater than std_high")
        return self


class Blur(Section):
    kernel: Annotated[int, Field(ge=3, le=101)]


class Operations(Section):
    """Strengths of the operations. Flip, channel shuffle and grayscale have none."""

    brightness_contrast: BrightnessContrast
    gamma: Gamma
    rotate: Rotate
    rgb_shift: RGBShift
    gauss_noise: GaussNoise
    blur: Blur


class Augment(Section):
    per_class: PerClass
    operations: Operations
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]


class Model(Section):
    arch: Arch
    config: Text


class Adversarial(Section):
    """The attack on the images of each training step."""

    epsilon: Annotated[float, Field(gt=0, le=1)]
    steps: Count


class Config(Section):
    """One row of the paper's Table 1: initial weights and frozen layers of a variant."""

    pretrained: bool
    frozen_layers: Annotated[int, Field(ge=0, le=8)]
    adversarial: Adversarial | None = None

    @model_validator(mode="after")
    def _pixels_reach_every_layer(self):
        if self.adversarial and self.frozen_layers:
            raise ValueError(
                "adversarial training changes the pixels in every step, but the output of frozen layers is "
                "computed only once: set frozen_layers to 0, or adversarial to null"
            )
        return self


class Pretrain(Section):
    seed: Natural
    images_per_class: Annotated[int, Field(ge=2)]
    shallow_epochs: Count
    epochs: Count
    batch_size: Count
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)]


class Train(Section):
    epochs: Count
    keep: Literal["best", "last"]
    patience: Count
    flip: bool
    tta: Literal["none", "flip"]
    normalise: Literal["half", "imagenet", "weights"]
    class_weights: Annotated[float, Field(ge=0, le=2)]
    optimizer: Optimizer
    batch_size: Annotated[int, Field(ge=2)]
    lr: Positive
    head_lr_multiplier: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    repeats: Count
    processes: Count
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    precision: Literal["auto", "bf16", "fp32"]


class FGSM(Section):
    epsilon: Strength
    sweep: Annotated[list[Strength], Field(min_length=1)]
    examples: Annotated[int, Field(ge=1, le=20)]


class Attack(Section):
    steps: Natural
    step_size: Strength
    restarts: Count
    apgd_steps: Natural


class Params(Section):
    """All of params.yaml, with one field per section. The comments in the file explain the keys."""

    seed: Natural
    data: Data
    split: Split
    augment: Augment
    weights: Text
    pretrain: Pretrain
    model: Model
    configs: Annotated[dict[Annotated[str, StringConstraints(pattern=r"^\w+$")], Config], Field(min_length=1)]
    train: Train
    fgsm: FGSM
    attack: Attack

    @model_validator(mode="after")
    def _config_exists(self):
        if self.model.config not in self.configs:
            raise ValueError(
                f"model.config is {self.model.config!r}, which is not in configs: "
                f"use one of {', '.join(self.configs)}, or add it"
            )
        return self

    @model_validator(mode="after")
    def _best_is_known(self):
        if self.train.keep == "best" and self.split.val is None:
            raise ValueError(
                "train.keep is best, which validation images decide, but split.val is null: set split.val to "
                "a share, or train.keep to last"
            )
        return self

    @property
    def variant(self) -> str:
        """The selected variant, ARCH-CONFIG."""
        return variant_name(self.model.arch, self.model.config)

    def weights_file(self, arch: str) -> Path | None:
        """The weights file of `arch`; None if `weights` is demo or imagenet."""
        if self.weights in ("demo", "imagenet"):
            return None
        return Path(self.weights.replace("{arch}", arch)).expanduser()


def load(path: Path = PATH) -> Params:
    """The checked content of `path`.

    Raises InputError with one message on the first key that is unknown, missing, of the wrong type or out of
    range.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run this command in the project folder.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    return check(content, str(path))


def check(content: object, origin: str) -> Params:
    """`content` as Params. Raises InputError like `load`; its message starts with `origin`."""
    try:
        return Params.model_validate(content)
    except ValidationError as invalid:
        # a misspelled key is also missing: report the misspelling
        errors = sorted(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise InputError(_sentence(origin, errors[0])) from None


def _sentence(origin: str, error: ErrorDetails) -> str:
    """An error of pydantic as a message that starts with the origin and the key."""
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            return f"{origin}: the key {key} is missing: add it."
        case "extra_forbidden":
            return f"{origin}: there is no key {key}; check its spelling and indentation."
        case "value_error":
            return f"{origin}: {key + ': ' if key else ''}{error['ctx']['error']}."
    value = error["input"]
    rule = error["msg"].replace("Input should", "it must", 1).replace(" should ", " must ", 1)
    sentence = f"{origin}: {key or 'the file'} is {value!r}; {rule[0].lower()}{rule[1:]}."
    if isinstance(value, str) and error["type"] in ("float_type", "int_type") and _is_number(value):
        sentence += f" YAML reads {value} as text: write {float(value):.{6}f}".rstrip("0") + "."
    return sentence


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
