"""Pixel values of [0, 1] moved against a model, each by at most epsilon: for attacks, and for a defence."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carcls.base.seeds import derive
from carcls.learning.model import infer


def gradient_sign(model: nn.Module, pixels: Tensor, labels: Tensor, *, targeted: bool = False) -> Tensor:
    """Sign of the gradient of the cross-entropy by `pixels` (float32 in [0, 1], (n, 3, h, w)): same shape.

    It leads away from `labels`; where `targeted`, towards them: the negative (Kurakin et al. 2017).
    """
    sign, _ = gradient_sign_and_logits(model, pixels, labels)
    return -sign if targeted else sign


def gradient_sign_and_logits(model: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same away from `labels`, and the logits of `pixels` that were computed for it."""
    pixels = pixels.detach().requires_grad_()
    logits = infer(model, pixels).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return torch.autograd.grad(loss, pixels)[0].sign(), logits.detach()


def perturb(pixels: Tensor, sign: Tensor, epsilon: float) -> Tensor:
    """`pixels` moved by `epsilon` along `sign` and clipped to [0, 1]; `epsilon` 0 changes no bit."""
    return (pixels + epsilon * sign).clamp(0, 1)


def descend(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    start: Tensor,
    *,
    epsilon: float,
    steps: int,
    step_size: float,
    targeted: bool = False,
) -> Tensor:
    """`pixels` (float32 in [0, 1], (n, 3, h, w)) after projected gradient descent (Madry et al. 2018).

    Begun `epsilon` x `start` from them, `steps` steps of `step_size` along `gradient_sign`, each brought
    back within `epsilon`: away from `labels`, or where `targeted` towards them.
    """
    low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    adversarial = torch.clamp(pixels + epsilon * start, low, high)
    for _ in range(steps):
        sign = gradient_sign(model, adversarial, labels, targeted=targeted)
        adversarial = torch.clamp(adversarial + step_size * sign, low, high)
    return adversarial


def draw(shape: Sequence[int], seed: int, *purpose: object) -> Tensor:
    """Values even in [-1, 1), the same on every device."""
    generator = torch.Generator().manual_seed(derive(seed, *purpose))
    return torch.rand(shape, generator=generator) * 2 - 1
