"""Which convolutions training computes by kernels of our own instead of PyTorch's, and where."""

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from carcls.learning import winograd

# Measured in float32 with AVX2; costs are in multiplications for each pair of channels
TILE = 86  # transforming a tile costs as much as multiplying it with so many kernels
KERNEL = 64  # transforming a kernel costs as much as multiplying it with so many tiles
MAX_SHARE = 0.85  # of the multiplications of a plain convolution, up to which filtering is faster
MAX_BYTES = 2**26  # of a layer's transformed tiles, which are kept for the gradient


def applied(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """Compute convolutions inside by Winograd's filtering where that was measured to be faster than oneDNN.

    That is float32 on x86-64 processors with AVX2 but without AVX-512. Elsewhere, and in bfloat16, this does
    nothing. Models are not changed: the context intercepts calls of `functional.conv2d` in this thread.
    """
    measured = (
        device.type == "cpu"
        and precision == torch.float32
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )
    return _Filtering() if measured else nullcontext()


class _Filtering(TorchFunctionMode):
    """Calls winograd.conv2d for functional.conv2d where that is faster."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.conv2d and not kwargs and _fits(*args):  # nn.Conv2d passes no keywords
            images, weight, *_ = args
            if side := _best_side(images, weight):
                return winograd.conv2d(images, weight, side)
        return func(*args, **(kwargs or {}))


def _fits(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> bool:
    """Whether winograd.conv2d can compute this call of functional.conv2d in training."""
    plain = bias is None and groups == 1 and stride == padding == dilation == (1, 1)
    # layers without gradients are frozen; their features, which are computed outside too, must be the same
    return plain and weight.shape[2:] == (3, 3) and torch.is_grad_enabled()


def _best_side(images: Tensor, weight: Tensor) -> int | None:
    """The side of the tiles that cost least; None where a plain convolution costs less."""
    count, channels, height, width = images.shape

    def cost(side: int) -> float:
        of_tile = 1 + TILE * (1 / channels + 1 / len(weight))
        return (side + 2) ** 2 * (winograd.tiles(images, side) * of_tile + KERNEL)

    side = min(winograd.SIDES, key=cost)
    kept = winograd.tiles(images, side) * channels * (side + 2) ** 2 * images.itemsize
    faster = cost(side) <= MAX_SHARE * 9 * count * height * width
    return side if faster and kept <= MAX_BYTES else None
