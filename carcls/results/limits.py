"""Calibrate the model of a results folder and measure the novelty of images."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from carcls.evaluation.calibration import cross_fitted, temperature
from carcls.evaluation.novelty import KEPT, TrainingFeatures
from carcls.evaluation.scores import predict_with_features, predictions
from carcls.files import FEATURES, write_csv
from carcls.imageset.archive import read_index
from carcls.learning.loading import BATCH_SIZE, ArchiveSet, ImageSet
from carcls.learning.model import inference_of, save_model, set_inference
from carcls.params import Params
from carcls.pipeline.chosen import load_chosen
from carcls.study.run import LIMITS


def limits(params: Params, root: Path) -> None:
    """Write temperature and novelty threshold to the model file. Write the files data/FEATURES and LIMITS.

    Both values are fitted on the validation images. Without validation images, they are fitted on the test
    images, and the confidences in LIMITS are cross-fitted. LIMITS has one row per test image. Its columns
    are those of `scores.predictions`, uncalibrated (confidence at temperature 1), novelty and nearest (the
    name of the nearest training image).
    """
    chosen = load_chosen(params, root)
    set_inference(chosen.model, inference_of(chosen.model)._replace(temperature=1.0))

    def answers(images: ImageSet) -> tuple[Tensor, Tensor]:
        return predict_with_features(chosen.model, images, chosen.device, chosen.path)

    train, val = (ArchiveSet(root / f"data/images/{split}.tar") for split in ("train", "val"))
    training = TrainingFeatures(answers(train.originals())[1])
    logits, features = answers(chosen.test)
    held_out = val.originals() if val else chosen.test
    held_logits, held_features = answers(held_out) if val else (logits, features)
    fitted = temperature(held_logits, held_out.labels)
    novelty = _nearest(training, held_features)[0][:, -1]
    threshold = novelty.quantile(KEPT, interpolation="higher").item()
    calibrated = logits / fitted if val else cross_fitted(logits, held_out.labels)

    training.save(root / "data" / FEATURES)
    info = replace(chosen.info, temperature=fitted, novelty_threshold=threshold)
    save_model(chosen.path, chosen.model, info)
    index = read_index(root / "data/images/train.tar")
    names = index[index["operations"] == ""]["name"].to_numpy()
    distances, places = _nearest(training, features)
    table = predictions(calibrated, chosen.test.labels, chosen.test.names, info.classes)
    table["uncalibrated"] = logits.softmax(1).max(1).values.numpy()
    table["novelty"], table["nearest"] = distances[:, -1].double().numpy(), names[places[:, 0]]
    write_csv(root / LIMITS, table)


def _nearest(training: TrainingFeatures, features: Tensor) -> tuple[Tensor, Tensor]:
    """`training.nearest` in batches, because all similarities at once could exceed the memory."""
    found = [training.nearest(part) for part in features.split(BATCH_SIZE)]
    distances, places = map(torch.cat, zip(*found, strict=True))
    return distances, places
