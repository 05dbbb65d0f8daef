"""Perturbations of images by at most epsilon per pixel value, for attacks and adversarial training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carcls.base.seeds import derive
from carcls.learning.model import infer


def gradient_sign(model: nn.Module, pixels: Tensor, labels: Tensor, *, targeted: bool = False) -> Tensor:
    """Sign of the gradient of the cross-entropy by `pixels` (float32 in [0, 1], (n, 3, h, w)): same shape.

    It points away from `labels`. If `targeted`, it is negated and points towards them (Kurakin et al. 2017).
    """
    sign, _ = gradient_sign_and_logits(model, pixels, labels)
    return -sign if targeted else sign


def gradient_sign_and_logits(model: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The result of `gradient_sign` away from `labels`, and the logits of `pixels` from the same pass."""
    pixels = pixels.detach().requires_grad_()
    logits = infer(model, pixels).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return torch.autograd.grad(loss, pixels)[0].sign(), logits.detach()


def perturb(pixels: Tensor, sign: Tensor, epsilon: float) -> Tensor:
    """`pixels` moved by `epsilon` along `sign` and clipped to [0, 1]. An `epsilon` of 0 changes no bit."""
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

    From `pixels` + `epsilon` * `start`, it takes `steps` steps of `step_size` along `gradient_sign`, away
    from `labels` or, if `targeted`, towards them. Each step is projected back to within `epsilon`.
    """
    low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    adversarial = torch.clamp(pixels + epsilon * start, low, high)
    for _ in range(steps):
        sign = gradient_sign(model, adversarial, labels, targeted=targeted)
        adversarial = torch.clamp(adversarial + step_size * sign, low, high)
    return adversarial


def draw(shape: Sequence[int], seed: int, *purpose: object) -> Tensor:
    """Uniform random values in [-1, 1), the same on every device."""
    generator = torch.Generator().manual_seed(derive(seed, *purpose))
    return torch.rand(shape, generator=generator) * 2 - 1
