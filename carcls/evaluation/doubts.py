"""Possible label errors: labels that contradict the prediction of a model that was not trained on them."""

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from carcls.learning.loading import BATCH_SIZE, ImageSet, batches
from carcls.learning.model import normalise

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FOLDS = 5  # of cross-validation; fewer if every class has fewer images
PENALTY = 0.01  # scikit-learn's C; strong, because features far outnumber the images of a class


def features(model: nn.Module, images: ImageSet, device: torch.device) -> np.ndarray:
    """The input of the last layer of `model` for `images`: float32, (n, channels)."""
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten()).eval().to(device)
    loader = batches(images, images.in_turn(BATCH_SIZE), device)
    with torch.inference_mode():
        return torch.cat([body(normalise(pixels, model)).float().cpu() for pixels, _ in loader]).numpy()


def doubts(features: np.ndarray, labels: np.ndarray, seed: int) -> "pd.DataFrame":
    """Columns place, answer, given, doubt: one row per image whose label is contradicted, sorted by doubt.

    A logistic regression trained on the other folds of `features` ((n, channels)) predicts the class `answer`
    for each image. `given` is the probability of the image's label in `labels` ((n,)). `doubt` is the
    probability of `answer` minus `given`, the margin of confident learning (Northcutt et al. 2021). If a
    class has fewer than two images, the table is empty and a warning is logged.
    """
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels)
    if counts.min() < 2:
        log.warning("no search for label errors: a class has fewer than two images")
        return pd.DataFrame(columns=["place", "answer", "given", "doubt"])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
    folds = StratifiedKFold(min(FOLDS, int(counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # a class with fewer images than folds is missing in some folds, but in no training set
        warnings.filterwarnings("ignore", message="The least populated class")
        probabilities = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    rows = np.arange(len(labels))
    answers, given = probabilities.argmax(1), probabilities[rows, labels]
    table = pd.DataFrame(
        {"place": rows, "answer": answers, "given": given, "doubt": probabilities.max(1) - given}
    )
    contradicted = table[table["answer"] != labels]
    return contradicted.sort_values("doubt", ascending=False, kind="stable", ignore_index=True)
