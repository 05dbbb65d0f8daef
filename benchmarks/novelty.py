"""Measure how well distance and energy recognise unknown images, and how well models are calibrated.

    python -m benchmarks.novelty RESULTS RESULTS... [--unseen FOLDER] [--images 500]

RESULTS are results folders of `carcls train`. The test images of each are the known images of its model and
unknown images of the other models. FOLDER has class folders; their images are unknown if the model does not
have the class. Distance is the novelty: the distance to the training images. For each pair the first table
has the area under the ROC curve of both scores (how often an unknown image has a higher score than a known
one), and the share of unknown images above the model's threshold. The second table has the expected
calibration error on the test images at temperature 1 and at the fitted temperature.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.common import table
from carcls.base import startup
from carcls.base.scoring import calibration_error
from carcls.evaluation.scores import predict_with_features
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.inference.classifier import Classifier
from carcls.learning.loading import ImageSet
from carcls.learning.model import infer, inference_of, set_inference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--unseen", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=500, help="maximum number of unknown images per set")
    arguments = parser.parse_args()
    startup.set_up()
    header = ("model", "unknown images", "AUROC distance", "AUROC energy", "above the threshold")
    table(header, _recognised(arguments.results, arguments.unseen, arguments.images))
    table(("model", "test images", "ECE before", "ECE after"), map(_calibrated, arguments.results))


def _recognised(results: list[Path], unseen: Path | None, most: int) -> Iterator[tuple[object, ...]]:
    """The rows of the first table."""
    tests = {folder: _test_images(folder) for folder in results}
    for folder in results:
        classifier = Classifier.load(folder / "model.safetensors")
        classifier.check_novelty()
        others = {str(other): images for other, images in tests.items() if other != folder}
        if unseen:
            paths = [
                path
                for path in sorted(unseen.rglob("*.jpg"))
                if path.parent.name not in classifier.info.classes
            ]
            others["unseen classes"] = [path.read_bytes() for path in paths]
        known = _scores(classifier, tests[folder])
        for name, images in others.items():
            count = min(most, len(images))
            unknown = _scores(classifier, [images[place * len(images) // count] for place in range(count)])
            labels = np.repeat([0, 1], [len(known), len(unknown)])
            areas = [roc_auc_score(labels, np.append(known[:, i], unknown[:, i])) for i in (0, 1)]
            above = (unknown[:, 0] > classifier.info.novelty_threshold).mean()
            yield (folder, f"{name} ({count})", *(f"{share:.3f}" for share in (*areas, above)))


def _calibrated(folder: Path) -> tuple[object, ...]:
    """A row of the second table."""
    answers = pd.read_csv(folder / "predictions.csv", dtype={"actual": str, "predicted": str})
    columns = (answers["uncalibrated"], answers["confidence"])
    errors = [calibration_error(values, answers.actual == answers.predicted) for values in columns]
    return folder, len(answers), *(f"{error:.3f}" for error in errors)


def _test_images(results: Path) -> list[bytes]:
    index = read_index(results / "test.tar")
    with ArchiveReader(results / "test.tar") as reader:
        return [reader.read(row.offset, row.size) for row in index.itertuples()]


def _scores(classifier: Classifier, images: list[bytes]) -> np.ndarray:
    """The novelty and the energy of each image: (n, 2).

    Energy is minus the logarithm of the summed exponentials of the logits (Liu et al. 2020), without mirror
    images and temperature, which would normalise them.
    """
    assert classifier.training
    pixels = torch.from_numpy(np.stack([classifier.prepare(data, "image") for data in images]))
    prepared = ImageSet(pixels.permute(0, 3, 1, 2), torch.zeros(len(pixels), dtype=torch.int64))
    _, features = predict_with_features(classifier.model, prepared, classifier.device)
    novelty = classifier.training.nearest(features)[0][:, -1]
    inference = inference_of(classifier.model)
    set_inference(classifier.model, inference._replace(tta="none", temperature=1.0))
    with torch.inference_mode():
        parts = prepared.read(range(len(prepared))).to(classifier.device).split(64)
        logits = torch.cat([infer(classifier.model, part).cpu() for part in parts])
    set_inference(classifier.model, inference)
    return torch.stack([novelty, -logits.logsumexp(1)], 1).numpy()


if __name__ == "__main__":
    main()
