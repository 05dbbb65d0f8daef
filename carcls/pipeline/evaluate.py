"""metrics/test.json and plots/test: the selected variant on the test set, and its scores from training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from carcls.evaluation import gradcam, heatmap
from carcls.evaluation.scores import confusion, per_class, predict, predictions, scores
from carcls.evaluation.shown import looked_at
from carcls.files import write_csv, write_json
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.params import Params
from carcls.pipeline.chosen import Chosen, load_chosen

TRAINED = ("val_f1", "val_loss", "train_f1", "train_loss")


def evaluate(params: Params, root: Path) -> None:
    """Test the variant params.model. Raises InputError like `load_chosen`."""
    chosen = load_chosen(params, root)
    metrics = trained_scores(params, root)
    if "val_f1" in metrics:
        originals = ArchiveSet(root / "data/images/val.tar").originals()  # copies are not independent images
        logits = predict(chosen.model, originals, chosen.device, chosen.path)
        metrics["val_f1_originals"] = scores(logits, originals.labels)["f1"]
    write_json(root / "metrics/test.json", metrics | test(chosen, root / "plots/test"))


def trained_scores(params: Params, root: Path) -> dict[str, float]:
    """The scores TRAINED of the variant params.model."""
    trained = json.loads((root / f"metrics/train/{params.variant}.json").read_text())
    return {key: trained[key] for key in TRAINED if key in trained}


def test(chosen: Chosen, plots: Path) -> dict[str, float]:
    """The scores of `test_parts` for one model on its test images."""
    return test_parts([Part(chosen, chosen.test, torch.arange(len(chosen.test)))], chosen.test, plots)


class Part(NamedTuple):
    """A model with the images that it is tested on, and their places (int64) in the test set."""

    chosen: Chosen
    images: ImageSet
    places: Tensor


def test_parts(parts: Sequence[Part], images: ArchiveSet, plots: Path) -> dict[str, float]:
    """The scores of `evaluation.scores` on the test set `images`, as test_NAME; `parts` make up the set.

    Writes predictions.csv, per_class.csv, confusion.csv and heat.csv, which has the heat maps of the images
    that the report shows, to `plots`.
    """
    classes = parts[0].chosen.info.classes
    logits = torch.empty(len(images), len(classes))
    maps: dict[int, Tensor] = {}
    for chosen, own, places in parts:
        logits[places] = predict(chosen.model, own, chosen.device, chosen.path)
    answers = predictions(logits, images.labels, images.names, classes)
    by_class = per_class(logits, images.labels, classes)
    shown = [images.names.index(name) for name in looked_at(answers, by_class)]
    for chosen, _, places in parts:
        if mine := [place for place in shown if place in places]:
            heat = gradcam.heat(chosen.model, images.read(mine), logits[mine].argmax(1), chosen.device)
            maps |= dict(zip(mine, heat, strict=True))
    write_csv(plots / "predictions.csv", answers)
    write_csv(plots / "per_class.csv", by_class)
    names, levels = [images.names[place] for place in shown], torch.stack([maps[place] for place in shown])
    write_csv(plots / "heat.csv", heatmap.table(names, levels.numpy(), gradcam.layer(images.size)))
    write_csv(plots / "confusion.csv", confusion(logits, images.labels, classes))
    return {f"test_{name}": value for name, value in scores(logits, images.labels).items()}
