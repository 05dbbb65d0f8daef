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

# Measured in float32 with AVX2: docs/log.md
MIN_CHANNELS = 128  # below it, transforming the tiles takes longer than the multiplications that it saves
MIN_TILES = 32  # below it, transforming the kernels does
MAX_TILES = 4096  # above it, the transformed tiles of a layer, kept for the gradient, take more than 75 MB


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
        if func is functional.conv2d and not kwargs and _pays(*args):  # nn.Conv2d passes no keywords
            return winograd.conv2d(*args[:2])
        return func(*args, **(kwargs or {}))


def _pays(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> bool:
    """Whether winograd.conv2d can compute this call of functional.conv2d in training, and faster."""
    plain = bias is None and groups == 1 and stride == padding == dilation == (1, 1)
    # layers without gradients are frozen; their features, which are computed outside too, must be the same
    if not plain or weight.shape[2:] != (3, 3) or not torch.is_grad_enabled():
        return False
    return min(weight.shape[:2]) >= MIN_CHANNELS and MIN_TILES <= winograd.tiles(images) <= MAX_TILES
