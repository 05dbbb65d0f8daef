"""One picture under an attack, answered as it is shown: what the page and `carcls attack` do."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carcls.evaluation.attack import example
from carcls.evaluation.example import Means, Trial
from carcls.evaluation.scores import check_finite
from carcls.learning.model import infer
from carcls.learning.perturbation import descend, draw, gradient_sign, perturb


def attempt(
    model: nn.Module,
    pixels: Tensor,
    label: int,
    name: str,
    classes: Sequence[str],
    means: Means,
    target: int | None,
    seed: int,
) -> Trial:
    """`pixels` (float32 in [0, 1], (1, 3, h, w)) of the class `label` under `means`, towards `target`.

    Raises InputError when a probability is not finite.
    """
    model.eval().requires_grad_(False)
    moved, sign = _move(model, pixels, label, means, target, seed)
    rounded = (moved * 255).round() / 255
    with torch.inference_mode():
        logits = torch.cat([infer(model, images).cpu() for images in (pixels, rounded, moved)])
    check_finite(logits)
    before, after, unrounded = logits.softmax(1)
    row = example(name, classes, label, means.epsilon, pixels[0], sign[0], rounded[0], before, after)
    return Trial(
        row,
        (classes[int(unrounded.argmax())], unrounded.max().item()),
        None if target is None else (classes[target], before[target].item(), after[target].item()),
    )


def _move(
    model: nn.Module, pixels: Tensor, label: int, means: Means, target: int | None, seed: int
) -> tuple[Tensor, Tensor]:
    """`pixels` attacked, and the sign of what was added."""
    epsilon = means.epsilon
    if means.kind == "noise":
        sign = draw(pixels.shape, seed, "noise").sign().to(pixels.device)
        return perturb(pixels, sign, epsilon), sign
    labels = torch.tensor([label if target is None else target], device=pixels.device)
    targeted = target is not None
    if means.kind == "fgsm":
        sign = gradient_sign(model, pixels, labels, targeted=targeted)
        return perturb(pixels, sign, epsilon), sign
    moved = descend(
        model,
        pixels,
        labels,
        draw(pixels.shape, seed, "pgd").to(pixels.device),
        epsilon=epsilon,
        steps=means.steps,
        step_size=2.5 * epsilon / means.steps,  # from any start to any end (Madry et al. 2018)
        targeted=targeted,
    )
    return moved, (moved - pixels).sign()
