"""metrics/test.json and plots/test: the chosen model on the test set, and what it reached before."""

import json
from pathlib import Path

from carcls import params
from carcls.files import write_csv, write_json
from carcls.learning.device import resolve_device
from carcls.learning.evaluation import confusion, per_class, predict, predictions, scores
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import check_classes, load_model
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    variant = f"{settings.model.arch}-{settings.model.config}"
    device = resolve_device(settings.train.device)
    path = Path(f"models/{variant}.safetensors")
    model, info = load_model(path)
    val, test = ArchiveSet(Path("data/images/val.tar")), ArchiveSet(Path("data/images/test.tar"))
    check_classes(path, info, val.classes)
    originals = val.originals()  # copies of one photograph are not independent: their score is without them
    trained = json.loads(Path(f"metrics/train/{variant}.json").read_text())
    logits = predict(model, test, device)
    metrics = {key: trained[key] for key in ("val_f1", "val_loss", "train_f1", "train_loss")}
    metrics["val_f1_originals"] = scores(predict(model, originals, device), originals.labels)["f1"]
    metrics |= {f"test_{name}": value for name, value in scores(logits, test.labels).items()}
    answers = predictions(logits, test.labels, test.names, info.classes)
    write_csv(Path("plots/test/predictions.csv"), answers)
    write_csv(Path("plots/test/per_class.csv"), per_class(logits, test.labels, info.classes))
    write_csv(Path("plots/test/confusion.csv"), confusion(logits, test.labels, info.classes))
    write_json(Path("metrics/test.json"), metrics)


if __name__ == "__main__":
    main()
