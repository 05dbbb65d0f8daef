"""F1 and calibration error, used in training and in the report.

F1 equals that of scikit-learn. This module uses only NumPy, because importing scikit-learn takes two seconds.
"""

import numpy as np
from numpy.typing import ArrayLike

BINS = 10  # number of confidence bins


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`; 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


def f1(support: np.ndarray, predicted: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """F1 of each class, from the result of `counts`."""
    return share(2 * correct, support + predicted)


def counts(predicted: ArrayLike, labels: ArrayLike, classes: int) -> tuple[np.ndarray, ...]:
    """The numbers of images, predictions and correct predictions of each class: int64, (classes,) each."""
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    counted = (labels, predicted, labels[predicted == labels])
    return tuple(np.bincount(values, minlength=classes) for values in counted)


def mean_f1(support: np.ndarray, predicted: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Macro F1 from `counts`, of shape (..., classes).

    As in scikit-learn, the mean is over the classes that are present or predicted.
    """
    return f1(support, predicted, correct).sum(-1) / (support + predicted > 0).sum(-1)


def macro_f1(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Mean F1 over the classes that are present or predicted (paper, section 4.1). Inputs: int64, (n,)."""
    classes = 1 + int(max(np.max(np.asarray(predicted)), np.max(np.asarray(labels))))
    return float(mean_f1(*counts(predicted, labels, classes)))


def confidence_bin(confidence: ArrayLike) -> np.ndarray:
    """The index (from 0) of the bin of each confidence (n,), with BINS equal bins: int64, (n,)."""
    return np.clip(
        np.digitize(np.asarray(confidence), np.linspace(0, 1, BINS + 1), right=True) - 1, 0, BINS - 1
    )


def calibration_error(confidence: ArrayLike, right: ArrayLike) -> float:
    """Expected calibration error (Guo et al. 2017): the mean gap between confidence and accuracy of the bins.

    The mean is weighted by images. `confidence` is the confidence of each prediction (n,), `right` whether
    the prediction is correct (n,).
    """
    gaps = np.asarray(right, float) - np.asarray(confidence, float)
    return float(np.abs(np.bincount(confidence_bin(confidence), gaps)).sum() / len(gaps))
