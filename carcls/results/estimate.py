"""Estimate the duration of a training on this machine from a few steps and a few photographs."""

from dataclasses import replace
from time import perf_counter

import torch
from tqdm import tqdm

from carcls import params
from carcls.base.seeds import derive
from carcls.base.startup import cores
from carcls.errors import InputError
from carcls.evaluation.scores import predict
from carcls.imageset import images
from carcls.learning.device import resolve_device
from carcls.learning.loading import ImageSet
from carcls.learning.training import fit
from carcls.learning.variant import make_recipe, start
from carcls.results.settings import Contents

SAMPLE = 8  # number of images and of photographs to time
FIXED = 10  # seconds to start, to draw the report and to write files


def seconds(settings: params.Params, contents: Contents) -> float:
    """The approximate duration of `results.train.train` with `settings` on the photographs of `contents`.

    It does not include downloads. Raises InputError if the settings cannot be used on this machine.
    """
    step, answer = _per_image(settings, len(contents.classes()))
    trained, val, test = contents.sizes(settings.split)
    # evaluate and noise: 1 each; FGSM: 2 for the gradient, then 1 for each epsilon
    answers = 4 + len(settings.fgsm.sweep)
    return (
        FIXED
        + 2 * len(contents.rows) * _read_time(settings, contents) / cores()  # by download and augment
        + settings.train.epochs * (trained * step + val * answer)
        + (trained + val + test * answers) * answer  # label errors, evaluate, fgsm
    )


def _per_image(settings: params.Params, classes: int) -> tuple[float, float]:
    """Seconds of a training step and of a prediction, divided by the number of images."""
    device = resolve_device(settings.train.device)
    size, batch = settings.data.image_size, settings.train.batch_size
    count = batch if device.type == "cuda" else min(batch, SAMPLE)  # a GPU computes a batch at once
    generator = torch.Generator().manual_seed(derive(settings.seed, "estimate"))
    pixels = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    sample = ImageSet(pixels, torch.arange(count) % classes)
    model = start(settings.model.arch, classes, None, settings.train, settings.seed)
    recipe = replace(make_recipe(settings, settings.model.config, device), epochs=2, keep="last")
    epochs = fit(model, sample, ImageSet(pixels[:0], sample.labels[:0]), recipe, bar=_Silent)
    next(epochs)  # the first step sets up kernels and the optimizer
    began = perf_counter()
    next(epochs, None)
    trained = perf_counter()
    predict(model, sample, device)
    return (trained - began) / count, (perf_counter() - trained) / count


def _read_time(settings: params.Params, contents: Contents) -> float:
    """Seconds to decode and rescale one of the photographs on one core."""
    rows = contents.rows[:: -(-len(contents.rows) // SAMPLE)]
    began = perf_counter()
    for row in rows:
        try:
            data = (contents.folder / row.path).read_bytes()
            images.resize(images.decode(data, row.name), settings.data.image_size)
        except (InputError, OSError):  # the training reports or skips it
            continue
    return (perf_counter() - began) / len(rows)


class _Silent(tqdm):
    def __init__(self, **_) -> None:
        super().__init__(disable=True)
