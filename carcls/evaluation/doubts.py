"""Which labels to doubt: those that a model which was not trained on them contradicts surest."""

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

FOLDS = 5  # of cross-validation; fewer where no class has so many images
PENALTY = 0.01  # scikit-learn's C: features outnumber the images of a class by far


def features(model: nn.Module, images: ImageSet, device: torch.device) -> np.ndarray:
    """What `model`, whatever its classifier, makes of `images` before it: float32, (n, channels)."""
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten()).eval().to(device)
    loader = batches(images, images.in_turn(BATCH_SIZE), device)
    with torch.inference_mode():
        return torch.cat([body(normalise(pixels, model)).float().cpu() for pixels, _ in loader]).numpy()


def doubts(features: np.ndarray, labels: np.ndarray, seed: int) -> "pd.DataFrame":
    """Columns place, answer, given, doubt: a row an image whose label is contradicted, the surest first.

    A logistic regression on the other folds of `features` ((n, channels)) gives each image the class
    `answer`; `given` is the probability of its own class of `labels` ((n,)), and `doubt` how much that of
    `answer` is above it, the margin of confident learning (Northcutt et al. 2021). No row where a class
    has fewer than two images, which is logged.
    """
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels)
    if counts.min() < 2:
        log.warning("label errors are not searched for: a class has fewer than two images")
        return pd.DataFrame(columns=["place", "answer", "given", "doubt"])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
    folds = StratifiedKFold(min(FOLDS, int(counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # a class with fewer images than folds is left out of some, and of no training with two images
        warnings.filterwarnings("ignore", message="The least populated class")
        chances = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    rows = np.arange(len(labels))
    answers, given = chances.argmax(1), chances[rows, labels]
    table = pd.DataFrame({"place": rows, "answer": answers, "given": given, "doubt": chances.max(1) - given})
    contradicted = table[table["answer"] != labels]
    return contradicted.sort_values("doubt", ascending=False, kind="stable", ignore_index=True)
