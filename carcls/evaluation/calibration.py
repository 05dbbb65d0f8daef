"""Temperature scaling (Guo et al. 2017), which makes confidence match accuracy."""

import math

import torch
from torch import Tensor, nn

from carcls.base.scoring import calibration_error

FOLDS = 5  # of `cross_fitted`
LOG_RANGE = (-3.0, 3.0)  # of the temperature


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number by which `logits` (n, classes) are divided to minimise the cross-entropy of `labels` (n,).

    The model must not have been trained on these images. Targets are smoothed by 1 / (n + 2), as in Platt
    (1999): otherwise, the optimum for a few images that are all classified correctly would be 0. Returns 1 if
    there are no images.
    """
    from scipy.optimize import minimize_scalar  # imported late, because predictions do not need it

    if not len(labels):
        return 1.0
    smoothing = 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return nn.functional.cross_entropy(scaled, labels, label_smoothing=smoothing).item()

    return math.exp(minimize_scalar(loss, bounds=LOG_RANGE, method="bounded").x)


def cross_fitted(logits: Tensor, labels: Tensor) -> Tensor:
    """`logits`, cross-fitted: those of each of FOLDS parts are divided by the temperature of the other parts.

    So no score of these logits uses images on which their temperature was fitted.
    """
    fold = torch.arange(len(labels)) % FOLDS
    fitted = torch.empty_like(logits)
    for part in fold.unique():
        inside = fold == part
        fitted[inside] = logits[inside] / temperature(logits[~inside], labels[~inside])
    return fitted


def calibration_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Keys images, temperature, ece, loss, ece_scaled and loss_scaled.

    ece is the expected calibration error, loss the cross-entropy. ece_scaled and loss_scaled are the same
    after temperature scaling, of `cross_fitted` logits. The temperature is fitted on all images.
    """
    scores = {"images": len(labels), "temperature": temperature(logits, labels)}
    for suffix, values in (("", logits), ("_scaled", cross_fitted(logits, labels))):
        confidence, predicted = values.softmax(1).max(1)
        scores[f"ece{suffix}"] = calibration_error(confidence, predicted == labels)
        scores[f"loss{suffix}"] = nn.functional.cross_entropy(values, labels).item()
    return scores
