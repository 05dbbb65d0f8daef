"""The predictions of a model as logits, and the scores of these predictions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from carcls.base import scoring
from carcls.base.scoring import macro_f1
from carcls.errors import InputError
from carcls.learning.loading import BATCH_SIZE, ImageSet, batches
from carcls.learning.model import infer_with_features

# functions that return a table import pandas themselves, because prediction does not need it
if TYPE_CHECKING:
    import pandas as pd


def predict(model: nn.Module, images: ImageSet, device: torch.device, name: object = "The model") -> Tensor:
    """Logits of all `images` by `model` in evaluation mode: float32, (n, classes), CPU.

    Raises InputError, which names the model `name`, if a probability is not finite.
    """
    return predict_with_features(model, images, device, name)[0]


def predict_with_features(
    model: nn.Module, images: ImageSet, device: torch.device, name: object = "The model"
) -> tuple[Tensor, Tensor]:
    """The logits of `predict`, and from the same pass the features of `infer_with_features`, on the CPU."""
    model.eval().to(device)  # before inference mode, because weights moved within it cannot have gradients
    loader = batches(images, images.in_turn(BATCH_SIZE), device)
    with torch.inference_mode():
        pairs = [[part.cpu() for part in infer_with_features(model, pixels)] for pixels, _ in loader]
    logits, features = map(torch.cat, zip(*pairs, strict=True))
    check_finite(logits, name)
    return logits, features


def attacked_logits(
    model: nn.Module,
    images: ImageSet,
    device: torch.device,
    answer: Callable[[int, Tensor, Tensor], Tensor],
    name: str,
) -> Tensor:
    """Logits (float32, (n, classes), CPU) that `answer` returns for each batch of `images`.

    `answer` takes the number of the batch, its pixels (float32 in [0, 1], (n, 3, h, w)) and its labels. The
    weights of `model` need no gradients. A bar called `name` shows the images.
    """
    model.eval().requires_grad_(False).to(device)
    logits = []
    with tqdm(total=len(images), desc=name, unit="img", leave=False, disable=None) as bar:
        for number, (pixels, labels) in enumerate(batches(images, images.in_turn(BATCH_SIZE), device)):
            logits.append(answer(number, pixels.float() / 255, labels).cpu())
            bar.update(len(labels))
    return torch.cat(logits)


def check_finite(logits: Tensor, name: object = "The model") -> None:
    """Raise InputError if a probability of `logits` (n, classes) by the model `name` is not finite."""
    if not logits.log_softmax(1).isfinite().all():
        raise InputError(
            f"{name} gives probabilities that are not finite numbers: its weights are damaged or its "
            "training diverged. Copy the file again, or train again with a lower lr."
        )


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of each row's softmax, natural logarithm (paper, Table 3): (n,)."""
    log_probabilities = logits.log_softmax(1)
    return -(log_probabilities.exp() * log_probabilities).sum(1)


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Macro F1, accuracy, top-5 accuracy, entropy mean and standard deviation, cross-entropy.

    `logits` is float32 of shape (n, classes), `labels` int64 of shape (n,). Raises InputError if a
    probability is not finite.
    """
    check_finite(logits)
    top5 = logits.topk(min(5, logits.shape[1])).indices
    uncertainty = entropy(logits)
    return {
        "f1": macro_f1(logits.argmax(1), labels),
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "top5": (top5 == labels[:, None]).any(1).double().mean().item(),
        "entropy": uncertainty.double().mean().item(),
        "entropy_std": uncertainty.double().std(correction=0).item(),
        "loss": nn.functional.cross_entropy(logits, labels).item(),
    }


def per_class(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> "pd.DataFrame":
    """Columns class, precision, recall, f1, support: one row per class, in order of label."""
    import pandas as pd

    counts = scoring.counts(logits.argmax(1), labels, len(classes))
    support, predicted, correct = counts
    return pd.DataFrame(
        {
            "class": list(classes),
            "precision": scoring.share(correct, predicted),
            "recall": scoring.share(correct, support),
            "f1": scoring.f1(*counts),
            "support": support,
        }
    )


def confusion(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> "pd.DataFrame":
    """Columns actual, predicted, count: one row per pair of classes that occurs, in order of label."""
    import pandas as pd

    pairs, counts = np.unique(labels * len(classes) + logits.argmax(1), return_counts=True)
    actual, predicted = np.divmod(pairs, len(classes))
    names = np.array(classes, dtype=object)
    return pd.DataFrame({"actual": names[actual], "predicted": names[predicted], "count": counts})


def predictions(
    logits: Tensor, labels: Tensor, names: Sequence[str], classes: Sequence[str]
) -> "pd.DataFrame":
    """Columns name, actual, predicted, confidence, entropy: one row per image, in the order of `names`.

    The confidence is the softmax of the predicted class, the entropy is in nats; both are float32.
    """
    import pandas as pd

    confidence, predicted = logits.softmax(1).max(1)
    titles = np.array(classes, dtype=object)
    return pd.DataFrame(
        {
            "name": list(names),
            "actual": titles[labels.numpy()],
            "predicted": titles[predicted.numpy()],
            "confidence": confidence.numpy(),
            "entropy": entropy(logits).numpy(),
        }
    )
