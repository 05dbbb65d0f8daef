"""Whether the way that photographs were taken predicts their class, and which photographs are unusual."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5  # of cross-validation; classes with fewer photographs are ignored
MEASURES = ("brightness", "sharpness", "size", "aspect ratio")  # columns of a table of photographs
DEVIATIONS = 3.3  # standard deviations that chance exceeds in 1 of 2,000 cases (one-sided, normal)
UNUSUAL = 4  # standard deviations, estimated from the median deviation, from the median of a logarithm ...
LEAST = 0.2  # ... which is at least this: photographs of one camera can all have the same size


def measure(image: np.ndarray) -> tuple[float, float]:
    """Brightness and sharpness of an image, uint8 RGB: mean grey level in [0, 1], and the standard deviation
    of its Laplacian in grey levels (Pech-Pacheco et al. 2000)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(grey.mean() / 255), float(cv2.Laplacian(grey, cv2.CV_32F).std())


def shortcuts(photographs: "pd.DataFrame", seed: int) -> "pd.DataFrame":
    """Columns measure, score, chance, bound: a row for each of MEASURES, best score first.

    The score is the balanced accuracy of a decision tree of depth 2 on that measure alone, in
    cross-validation. Random predictions have the mean score `chance` and rarely exceed `bound`. `photographs`
    has the columns MEASURES and label. The table is empty if fewer than two classes have FOLDS photographs.
    """
    import pandas as pd
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    sizes = photographs["label"].map(photographs["label"].value_counts())
    photographs = photographs[sizes >= FOLDS]
    labels = np.unique(photographs["label"], return_inverse=True)[1]
    counts = np.bincount(labels)
    if len(counts) < 2:
        return pd.DataFrame(columns=["measure", "score", "chance", "bound"])
    tree = DecisionTreeClassifier(max_depth=2, class_weight="balanced", random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    rows = []
    for name in MEASURES:
        predicted = cross_val_predict(tree, photographs[[name]].to_numpy(), labels, cv=folds)
        recalls = np.bincount(labels[predicted == labels], minlength=len(counts)) / counts
        share = np.bincount(predicted, minlength=len(counts)) / len(labels)
        chance = 1 / len(counts)
        bound = chance + DEVIATIONS * chance * np.sqrt((share * (1 - share) / counts).sum())
        rows.append({"measure": name, "score": recalls.mean(), "chance": chance, "bound": bound})
    return pd.DataFrame(rows).sort_values("score", ascending=False, kind="stable", ignore_index=True)


def unusual(photographs: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of `photographs` with a measure far from the median, most unusual first.

    Columns kind (dark, blurred, small, large, tall or wide) and deviation, in standard deviations, are added.
    Bright and sharp photographs are not unusual.
    """
    import pandas as pd

    kinds = (("dark", ""), ("blurred", ""), ("small", "large"), ("tall", "wide"))
    found = []
    for name, (low, high) in zip(MEASURES, kinds, strict=True):
        values = np.log(photographs[name] + 1e-3)
        distance = values - values.median()
        deviation = distance / max(LEAST, 1.4826 * distance.abs().median())
        for kind, sign in ((low, -1), (high, 1)):
            if kind:
                rows = photographs[sign * deviation > UNUSUAL]
                found.append(rows.assign(kind=kind, deviation=deviation[rows.index].abs()))
    return pd.concat(found).sort_values("deviation", ascending=False, kind="stable", ignore_index=True)
