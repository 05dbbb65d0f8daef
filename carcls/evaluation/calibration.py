"""Temperature scaling (Guo et al. 2017): probabilities that say how often an answer is right."""

import math

import torch
from torch import Tensor, nn

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
