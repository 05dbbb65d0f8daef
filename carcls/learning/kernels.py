"""The choice of the convolutions that training computes by `winograd` instead of PyTorch."""

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from carcls.learning import winograd

# measured in float32 with AVX2: docs/log.md
MIN_CHANNELS = 128  # below it, transforming the tiles takes longer than the multiplications that it saves
MIN_TILES = 32  # below it, transforming the kernels takes longer
MAX_TILES = 4096  # above it, the transformed tiles of a layer, kept for the gradient, take more than 75 MB


def applied(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """A context that computes convolutions by Winograd's filtering where this was faster than oneDNN.

    That is float32 on x86-64 processors with AVX2 but without AVX-512. Elsewhere, and in bfloat16, it does
    nothing. It does not change models: it intercepts calls of `functional.conv2d` in this thread.
    """
    measured = (
        device.type == "cpu"
        and precision == torch.float32
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )
    return _Winograd() if measured else nullcontext()


class _Winograd(TorchFunctionMode):
    """Calls winograd.conv2d for functional.conv2d where that is faster."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.conv2d and not kwargs and _is_faster(*args):  # nn.Conv2d passes no keywords
            return winograd.conv2d(*args[:2])
        return func(*args, **(kwargs or {}))


def _is_faster(
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
    # frozen layers have no gradients; their features are also computed outside, and must be the same
    if not plain or weight.shape[2:] != (3, 3) or not torch.is_grad_enabled():
        return False
    return min(weight.shape[:2]) >= MIN_CHANNELS and MIN_TILES <= winograd.tiles(images) <= MAX_TILES
