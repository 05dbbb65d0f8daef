"""metrics/test.json and plots/test: the chosen model on the test set, and what it reached before."""

import json
from pathlib import Path

from carcls import params
from carcls.evaluation.scores import predict, scores
from carcls.files import write_json
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import check_classes, load_model
from carcls.results.tested import test
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    variant = f"{settings.model.arch}-{settings.model.config}"
    device = resolve_device(settings.train.device)
    path = Path(f"models/{variant}.safetensors")
    model, info = load_model(path)
    val, images = ArchiveSet(Path("data/images/val.tar")), ArchiveSet(Path("data/images/test.tar"))
    check_classes(path, info, val.classes)
    originals = val.originals()  # copies of one photograph are not independent: their score is without them
    trained = json.loads(Path(f"metrics/train/{variant}.json").read_text())
    metrics = {key: trained[key] for key in ("val_f1", "val_loss", "train_f1", "train_loss")}
    metrics["val_f1_originals"] = scores(predict(model, originals, device), originals.labels)["f1"]
    write_json(Path("metrics/test.json"), metrics | test(model, info, images, device, Path("plots/test")))


if __name__ == "__main__":
    main()
