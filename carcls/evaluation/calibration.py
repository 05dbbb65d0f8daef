"""Temperature scaling (Guo et al. 2017): probabilities that say how often an answer is right."""

import math

import torch
from torch import Tensor, nn

from carcls.base.scoring import calibration_error

FOLDS = 5  # of `cross_fitted`
LOG_RANGE = (-3.0, 3.0)  # of the temperature


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number by which `logits` (n, classes) are divided to minimise the cross-entropy of `labels` (n,).

    The images must not have trained the model. Targets are smoothed by 1 / (n + 2), as in Platt (1999): with
    few images that are all answered right, the optimum would be 0. 1 without images.
    """
    from scipy.optimize import minimize_scalar  # a prediction does without

    if not len(labels):
        return 1.0
    smoothing = 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return nn.functional.cross_entropy(scaled, labels, label_smoothing=smoothing).item()

    return math.exp(minimize_scalar(loss, bounds=LOG_RANGE, method="bounded").x)


def cross_fitted(logits: Tensor, labels: Tensor) -> Tensor:
    """`logits`, those of each of FOLDS parts divided by the temperature of the other parts.

    What is measured on them is not measured on the images that a temperature was fitted on.
    """
    fold = torch.arange(len(labels)) % FOLDS
    fitted = torch.empty_like(logits)
    for part in fold.unique():
        inside = fold == part
        fitted[inside] = logits[inside] / temperature(logits[~inside], labels[~inside])
    return fitted


def calibration_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """images, temperature; ece and loss before temperature scaling, ece_scaled and loss_scaled after it.

    ece is the expected calibration error, loss the cross-entropy. The scaled ones are those of `cross_fitted`
    logits; `temperature` is fitted on all images.
    """
    scores = {"images": len(labels), "temperature": temperature(logits, labels)}
    for suffix, values in (("", logits), ("_scaled", cross_fitted(logits, labels))):
        confidence, predicted = values.softmax(1).max(1)
        scores[f"ece{suffix}"] = calibration_error(confidence, predicted == labels)
        scores[f"loss{suffix}"] = nn.functional.cross_entropy(values, labels).item()
    return scores
