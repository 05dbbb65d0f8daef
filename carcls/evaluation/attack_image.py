"""Attack one image and classify the result after rounding to 8 bits, for the page and `carcls attack`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carcls.evaluation.attack import example
from carcls.evaluation.example import AttackResult, AttackSpec
from carcls.evaluation.scores import check_finite
from carcls.learning.model import infer
from carcls.learning.perturbation import descend, draw, gradient_sign, perturb


def attack_image(
    model: nn.Module,
    pixels: Tensor,
    label: int,
    name: str,
    classes: Sequence[str],
    spec: AttackSpec,
    target: int | None,
    seed: int,
) -> AttackResult:
    """Attack the image `pixels`, towards the class `target` or, if that is None, away from the class `label`.

    `pixels`: float32 in [0, 1] of shape (1, 3, height, width). Raises InputError if a probability is not
    finite.
    """
    model.eval().requires_grad_(False)
    moved, sign = _move(model, pixels, label, spec, target, seed)
    rounded = (moved * 255).round() / 255
    with torch.inference_mode():
        logits = torch.cat([infer(model, images).cpu() for images in (pixels, rounded, moved)])
    check_finite(logits)
    before, after, unrounded = logits.softmax(1)
    row = example(name, classes, label, spec.epsilon, pixels[0], sign[0], rounded[0], before, after)
    return AttackResult(
        row,
        (classes[int(unrounded.argmax())], unrounded.max().item()),
        None if target is None else (classes[target], before[target].item(), after[target].item()),
    )


def _move(
    model: nn.Module, pixels: Tensor, label: int, spec: AttackSpec, target: int | None, seed: int
) -> tuple[Tensor, Tensor]:
    """The attacked `pixels` and the sign of the perturbation."""
    epsilon = spec.epsilon
    if spec.kind == "noise":
        sign = draw(pixels.shape, seed, "noise").sign().to(pixels.device)
        return perturb(pixels, sign, epsilon), sign
    labels = torch.tensor([label if target is None else target], device=pixels.device)
    targeted = target is not None
    if spec.kind == "fgsm":
        sign = gradient_sign(model, pixels, labels, targeted=targeted)
        return perturb(pixels, sign, epsilon), sign
    moved = descend(
        model,
        pixels,
        labels,
        draw(pixels.shape, seed, "pgd").to(pixels.device),
        epsilon=epsilon,
        steps=spec.steps,
        step_size=2.5 * epsilon / spec.steps,  # the steps can cross the whole range (Madry et al. 2018)
        targeted=targeted,
    )
    return moved, (moved - pixels).sign()
