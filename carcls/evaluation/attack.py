"""Attacks on image sets: Fast Gradient Sign Method (Goodfellow et al. 2014; paper, section 5), PGD, noise.

Each attack changes pixel values, which are in [0, 1], by at most epsilon.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from carcls.evaluation.apgd import apgd
from carcls.evaluation.example import Example
from carcls.evaluation.scores import attacked_logits, scores
from carcls.learning.loading import BATCH_SIZE, ImageSet, batches
from carcls.learning.model import infer
from carcls.learning.perturbation import descend, draw, gradient_sign, gradient_sign_and_logits, perturb
from carcls.params import Attack

if TYPE_CHECKING:
    import pandas as pd


def attack(
    model: nn.Module, images: ImageSet, epsilons: Sequence[float], device: torch.device
) -> dict[float, Tensor]:
    """Logits (float32, (n, classes), CPU) of all `images` attacked with each epsilon.

    One forward and backward pass per batch computes the gradient and the logits for epsilon 0. Each other
    epsilon needs one more forward pass.
    """
    model.eval().requires_grad_(False).to(device)
    logits: dict[float, list[Tensor]] = {epsilon: [] for epsilon in epsilons}
    for pixels, labels in batches(images, images.in_turn(BATCH_SIZE), device):
        pixels = pixels.float() / 255
        sign, clean = gradient_sign_and_logits(model, pixels, labels)
        with torch.inference_mode():
            for epsilon in epsilons:
                answer = infer(model, perturb(pixels, sign, epsilon)) if epsilon else clean
                logits[epsilon].append(answer.cpu())
    return {epsilon: torch.cat(parts) for epsilon, parts in logits.items()}


def noise(model: nn.Module, images: ImageSet, epsilon: float, device: torch.device, seed: int) -> Tensor:
    """Logits of all `images` (float32, (n, classes), CPU) with +-`epsilon` added to each pixel value.

    The signs are random. This is the control for FGSM, which uses the signs of the gradient.
    """

    @torch.inference_mode()
    def answer(place: int, pixels: Tensor, labels: Tensor) -> Tensor:
        sign = draw(pixels.shape, seed, "noise", place).sign().to(device)
        return infer(model, perturb(pixels, sign, epsilon))

    return attacked_logits(model, images, device, answer, "noise")


def pgd(
    model: nn.Module, images: ImageSet, epsilon: float, settings: Attack, device: torch.device, seed: int
) -> Tensor:
    """Logits of all `images` (float32, (n, classes), CPU) after projected gradient descent.

    From a random point within `epsilon`, PGD takes `settings.steps` steps of `settings.step_size` along the
    sign of the gradient, and projects each to within `epsilon` (Madry et al. 2018). The logits of an image
    are those of the strongest of `settings.restarts` runs.
    """

    def answer(place: int, pixels: Tensor, labels: Tensor) -> Tensor:
        runs = []
        for restart in range(settings.restarts):
            start = draw(pixels.shape, seed, "pgd", restart, place).to(device)
            adversarial = descend(
                model,
                pixels,
                labels,
                start,
                epsilon=epsilon,
                steps=settings.steps,
                step_size=settings.step_size,
            )
            with torch.inference_mode():
                runs.append(infer(model, adversarial))
        return _strongest(torch.stack(runs), labels)

    return attacked_logits(model, images, device, answer, "PGD")


def _strongest(runs: Tensor, labels: Tensor) -> Tensor:
    """The logits (n, classes) of the run with the largest lead of a wrong class, from (runs, n, classes)."""
    correct = torch.nn.functional.one_hot(labels, runs.shape[2]).bool()
    lead = runs.masked_fill(correct, -torch.inf).amax(2) - runs.masked_fill(~correct, -torch.inf).amax(2)
    return runs[lead.argmax(0), torch.arange(len(labels), device=labels.device)]


def answers(
    model: nn.Module,
    images: ImageSet,
    epsilon: float,
    settings: Attack,
    device: torch.device,
    seed: int,
) -> dict[str, Tensor]:
    """Logits of `images` by attack: noise, and PGD and APGD if `settings` gives them steps."""
    logits = {"noise": noise(model, images, epsilon, device, seed)}
    if settings.steps:
        logits["pgd"] = pgd(model, images, epsilon, settings, device, seed)
    if settings.apgd_steps:
        logits["apgd"] = apgd(model, images, epsilon, settings.apgd_steps, device, seed)
    return logits


def sweep(logits: dict[float, Tensor], labels: Tensor) -> "pd.DataFrame":
    """Columns epsilon, f1, accuracy, top5, entropy, entropy_std, loss: one row per epsilon in `logits`."""
    import pandas as pd

    return pd.DataFrame([{"epsilon": epsilon, **scores(parts, labels)} for epsilon, parts in logits.items()])


def pick(logits: Tensor, labels: Tensor, count: int) -> list[int]:
    """Indices of up to `count` representative images for Figure 5, sorted by falling confidence.

    The correctly classified images are sorted by confidence and cut into `count` equal parts; the middle of
    each part is taken. If none is classified correctly, the first images are taken.
    """
    confidence, predicted = logits.softmax(1).max(1)
    correct = (predicted == labels).nonzero()[:, 0]
    if not len(correct):
        return list(range(min(count, len(labels))))
    ranked = correct[confidence[correct].argsort(descending=True, stable=True)]
    shown = min(count, len(ranked))
    return [int(ranked[(2 * part + 1) * len(ranked) // (2 * shown)]) for part in range(shown)]


def examples(
    model: nn.Module,
    images: ImageSet,
    places: Sequence[int],
    names: Sequence[str],
    classes: Sequence[str],
    epsilon: float,
    device: torch.device,
) -> list[Example]:
    """The rows of Figure 5 for the images at `places`, called `names`. `classes` are those of the model."""
    model.eval().requires_grad_(False).to(device)
    labels = images.labels[torch.as_tensor(places)]
    pixels = images.read(places).to(device).float() / 255
    sign = gradient_sign(model, pixels, labels.to(device))
    adversarial = perturb(pixels, sign, epsilon)
    with torch.inference_mode():
        before = infer(model, pixels).softmax(1).cpu()
        after = infer(model, adversarial).softmax(1).cpu()
    parts = zip(names, labels.tolist(), pixels, sign, adversarial, before, after, strict=True)
    return [example(name, classes, label, epsilon, *tensors) for name, label, *tensors in parts]


def example(
    name: str,
    classes: Sequence[str],
    label: int,
    epsilon: float,
    pixels: Tensor,
    sign: Tensor,
    adversarial: Tensor,
    before: Tensor,
    after: Tensor,
) -> Example:
    """The row of Figure 5 for one image of the class with index `label`.

    `pixels` and `adversarial`: float32 in [0, 1]; `sign`: the sign of the perturbation; (3, h, w) each.
    `before` and `after`: probabilities, (classes,).
    """
    top = before.topk(min(3, len(classes))).indices
    order = after.argsort(descending=True, stable=True)
    return Example(
        name=name,
        actual=classes[label],
        epsilon=epsilon,
        original=_to_image(pixels),
        noise=sign.permute(1, 2, 0).to(torch.int8).cpu().numpy(),
        adversarial=_to_image(adversarial),
        before=[(classes[place], before[place].item()) for place in top],
        after=[(classes[place], after[place].item()) for place in order[: len(top)]],
        rank_after=[int((order == place).nonzero()) + 1 for place in top],
    )


def _to_image(pixels: Tensor) -> np.ndarray:
    return (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
