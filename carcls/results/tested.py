"""A trained model on a test set, clean and attacked: its scores, and the files that report and plots read."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from carcls.evaluation import attack, gradcam
from carcls.evaluation.apgd import apgd
from carcls.evaluation.example import example_rows
from carcls.evaluation.scores import confusion, per_class, predict, predictions, scores
from carcls.files import write_bytes, write_csv
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.learning.model import ModelInfo
from carcls.params import Attack, Params
from carcls.study import heat
from carcls.study.analysis import looked_at
from carcls.study.figures import fgsm_examples, png
from carcls.study.run import ATTACKS

WITHSTOOD = 12  # originals of a class that all variants are attacked on: eight times the cost of one


def test(
    model: nn.Module, info: ModelInfo, images: ArchiveSet, device: torch.device, plots: Path
) -> dict[str, float]:
    """The scores of `evaluation.scores` on `images`, as test_NAME.

    Writes predictions.csv, per_class.csv, confusion.csv and, of images that the report shows, the heat maps
    of the answers, heat.csv, in `plots`.
    """
    logits = predict(model, images, device)
    answers = predictions(logits, images.labels, images.names, info.classes)
    classes = per_class(logits, images.labels, info.classes)
    places = [images.names.index(name) for name in looked_at(answers, classes)]
    maps = gradcam.heat(model, images.read(places), logits[places].argmax(1), device)
    write_csv(plots / "predictions.csv", answers)
    write_csv(plots / "per_class.csv", classes)
    write_csv(plots / "heat.csv", heat.table([images.names[place] for place in places], maps.numpy()))
    write_csv(plots / "confusion.csv", confusion(logits, images.labels, info.classes))
    return {f"test_{name}": value for name, value in scores(logits, images.labels).items()}


def attacked(
    model: nn.Module,
    info: ModelInfo,
    images: ArchiveSet,
    params: Params,
    device: torch.device,
    plots: Path,
) -> dict[str, float]:
    """The same under FGSM, noise of its size and, where there are steps of it, PGD: fgsm_, noise_, pgd_NAME.

    All at params.fgsm.epsilon. Writes sweep.csv, the files of ATTACKS, and Figure 5 as examples.csv and
    examples.png in `plots`.
    """
    settings, epsilon = params.fgsm, params.fgsm.epsilon
    logits = attack.attack(model, images, sorted({0.0, epsilon, *settings.sweep}), device)
    places = attack.pick(logits[0.0], images.labels, settings.examples)
    names = [images.names[place] for place in places]
    rows = attack.examples(model, images, places, names, info.classes, epsilon, device)
    write_csv(plots / "sweep.csv", attack.sweep(logits, images.labels))
    write_csv(plots / "examples.csv", example_rows(rows))
    write_bytes(plots / "examples.png", png(fgsm_examples(rows)))
    answers = {"fgsm": logits[epsilon]} | _attacks(model, images, epsilon, params.attack, device, params.seed)
    metrics: dict[str, float] = {}
    for name, answer in answers.items():
        table = predictions(answer, images.labels, images.names, info.classes)
        write_csv(plots / ATTACKS[name][1], table)
        metrics |= {f"{name}_{key}": value for key, value in scores(answer, images.labels).items()}
    for name in ATTACKS.keys() - answers.keys():
        write_csv(plots / ATTACKS[name][1], table.head(0))  # an output of its stage, which must be there
    return metrics


def _attacks(
    model: nn.Module, images: ImageSet, epsilon: float, settings: Attack, device: torch.device, seed: int
) -> dict[str, Tensor]:
    """Logits of `images` by what was done to them: noise, and what has steps in `settings`."""
    answers = {"noise": attack.noise(model, images, epsilon, device, seed)}
    if settings.steps:
        answers["pgd"] = attack.pgd(model, images, epsilon, settings, device, seed)
    if settings.apgd_steps:
        answers["apgd"] = apgd(model, images, epsilon, settings.apgd_steps, device, seed)
    return answers


def withstood(model: nn.Module, images: ImageSet, params: Params, device: torch.device) -> pd.DataFrame:
    """Columns attack, epsilon, images and those of `evaluation.scores`: a model on `images`, FGSM and noise.

    A row for FGSM at each epsilon of params.fgsm, at 0 for the images as they are, one for noise, and where
    params.attack has apgd_steps one for PGD and one for APGD: steps for every variant are many.
    """
    epsilon, settings = params.fgsm.epsilon, params.attack
    if not settings.apgd_steps:
        settings = settings.model_copy(update={"steps": 0})
    logits = attack.attack(model, images, sorted({0.0, epsilon, *params.fgsm.sweep}), device)
    tables = {"fgsm": attack.sweep(logits, images.labels)}
    for name, answer in _attacks(model, images, epsilon, settings, device, params.seed).items():
        tables[name] = attack.sweep({epsilon: answer}, images.labels)
    named = [table.assign(attack=name, images=len(images)) for name, table in tables.items()]
    return pd.concat(named, ignore_index=True)
