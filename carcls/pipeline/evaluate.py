"""metrics/test.json and plots/test: the selected variant on the test set, and its scores from training."""

import json
from pathlib import Path

from carcls.evaluation import gradcam, heatmap
from carcls.evaluation.scores import confusion, per_class, predict, predictions, scores
from carcls.evaluation.shown import looked_at
from carcls.files import write_csv, write_json
from carcls.learning.loading import ArchiveSet
from carcls.params import Params
from carcls.pipeline.chosen import Chosen, load_chosen

TRAINED = ("val_f1", "val_loss", "train_f1", "train_loss")


def evaluate(params: Params, root: Path) -> None:
    """Test the variant params.model. Raises InputError like `load_chosen`."""
    chosen = load_chosen(params, root)
    trained = json.loads((root / f"metrics/train/{params.variant}.json").read_text())
    metrics = {key: trained[key] for key in TRAINED if key in trained}
    if "val_f1" in trained:
        originals = ArchiveSet(root / "data/images/val.tar").originals()  # copies are not independent images
        logits = predict(chosen.model, originals, chosen.device, chosen.path)
        metrics["val_f1_originals"] = scores(logits, originals.labels)["f1"]
    write_json(root / "metrics/test.json", metrics | test(chosen, root / "plots/test"))


def test(chosen: Chosen, plots: Path) -> dict[str, float]:
    """The scores of `evaluation.scores` on the test images, as test_NAME.

    Writes predictions.csv, per_class.csv, confusion.csv and heat.csv, which has the heat maps of the images
    that the report shows, to `plots`.
    """
    images, classes = chosen.test, chosen.info.classes
    logits = predict(chosen.model, images, chosen.device, chosen.path)
    answers = predictions(logits, images.labels, images.names, classes)
    by_class = per_class(logits, images.labels, classes)
    places = [images.names.index(name) for name in looked_at(answers, by_class)]
    maps = gradcam.heat(chosen.model, images.read(places), logits[places].argmax(1), chosen.device)
    write_csv(plots / "predictions.csv", answers)
    write_csv(plots / "per_class.csv", by_class)
    names, layer = [images.names[place] for place in places], gradcam.layer(images.size)
    write_csv(plots / "heat.csv", heatmap.table(names, maps.numpy(), layer))
    write_csv(plots / "confusion.csv", confusion(logits, images.labels, classes))
    return {f"test_{name}": value for name, value in scores(logits, images.labels).items()}
