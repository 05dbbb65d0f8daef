"""What a model answers (logits), and apart from it how good the answers are (scores)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from carcls.base import scoring
from carcls.base.scoring import macro_f1
from carcls.errors import InputError
from carcls.learning.loading import BATCH_SIZE, ImageSet, batches
from carcls.learning.model import infer_with_features

# pandas is imported where there is a table to make: a prediction does without
if TYPE_CHECKING:
    import pandas as pd


def predict(model: nn.Module, images: ImageSet, device: torch.device, name: object = "The model") -> Tensor:
    """Logits of all `images` by `model`, in evaluation mode and float32: (n, classes) on the CPU.

    Raises InputError, naming the model by `name`, when a probability is not finite.
    """
    return predict_with_features(model, images, device, name)[0]


def predict_with_features(
    model: nn.Module, images: ImageSet, device: torch.device, name: object = "The model"
) -> tuple[Tensor, Tensor]:
    """The logits of `predict`, and from the same pass the features of `infer_with_features`, on the CPU."""
    model.eval().to(device)  # not in inference mode: weights that came to a device in it have no gradient
    loader = batches(images, images.in_turn(BATCH_SIZE), device)
    with torch.inference_mode():
        pairs = [[part.cpu() for part in infer_with_features(model, pixels)] for pixels, _ in loader]
    logits, features = map(torch.cat, zip(*pairs, strict=True))
    check_finite(logits, name)
    return logits, features


def check_finite(logits: Tensor, name: object = "The model") -> None:
    """Raise InputError when a probability of `logits` (n, classes) by the model `name` is not finite."""
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

    `logits` is float32 of shape (n, classes), `labels` int64 of shape (n,). Raises InputError when a
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
    """Columns class, precision, recall, f1, support: a row a class, in order of label."""
    import pandas as pd

    counts = scoring.counts(logits.argmax(1), labels, len(classes))
    support, called, hits = counts
    return pd.DataFrame(
        {
            "class": list(classes),
            "precision": scoring.share(hits, called),
            "recall": scoring.share(hits, support),
            "f1": scoring.f1(*counts),
            "support": support,
        }
    )


def confusion(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> "pd.DataFrame":
    """Columns actual, predicted, count: a row for each pair of classes that occurs, in order of label."""
    import pandas as pd

    pairs, counts = np.unique(labels * len(classes) + logits.argmax(1), return_counts=True)
    actual, predicted = np.divmod(pairs, len(classes))
    names = np.array(classes, dtype=object)
    return pd.DataFrame({"actual": names[actual], "predicted": names[predicted], "count": counts})


def predictions(
    logits: Tensor, labels: Tensor, names: Sequence[str], classes: Sequence[str]
) -> "pd.DataFrame":
    """Columns name, actual, predicted, confidence, entropy: a row an image, in the order of `names`.

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
