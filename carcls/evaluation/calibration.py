"""Temperature scaling (Guo et al. 2017): one number corrects a model's confidence and changes no answer."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from carcls.base.scoring import calibration_error


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The T that minimises the cross-entropy of `logits` (n, classes) / T on `labels` (n,)."""
    logits, log_t = logits.double(), torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(logits / log_t.exp(), labels)
        value.backward()
        return value

    optimizer.step(loss)
    return log_t.exp().item()


def calibration_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """images, temperature; ece and loss before temperature scaling, ece_scaled and loss_scaled after it.

    ece is the expected calibration error, loss the cross-entropy. Each half of the images, every second one,
    is scaled by the temperature that is fitted on the other half; `temperature` is fitted on all of them.
    """
    scaled = logits.clone()
    for half, other in ((0, 1), (1, 0)):
        scaled[half::2] /= temperature(logits[other::2], labels[other::2])
    found = {"images": len(labels), "temperature": temperature(logits, labels)}
    for suffix, values in (("", logits), ("_scaled", scaled)):
        confidence, predicted = values.softmax(1).max(1)
        found[f"ece{suffix}"] = calibration_error(confidence, predicted == labels)
        found[f"loss{suffix}"] = cross_entropy(values, labels).item()
    return found
