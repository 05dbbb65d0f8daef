"""Convolutions that train faster on the CPU where they have many channels and few pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional, grad

MAX_PIXELS = 4  # of all outputs together, for each of their channels, up to which the product pays


class Conv2d(nn.Conv2d):
    """A 3 x 3 convolution, padded by 1, whose weight gradient may be one matrix product.

    oneDNN has each thread add up a gradient of its own and then adds those, which for many channels and few
    pixels, as in the last layers of a ResNet, is much of the work. The product gives the same but for
    rounding, up to twice as fast; it is taken on the CPU where it was measured to pay: in bfloat16, and in
    float32 without AVX-512.
    """

    def forward(self, images: Tensor) -> Tensor:
        """`images`: (n, in_channels, h, w), channels last."""
        if images.device.type == "cpu" and self.training and _pays(images.dtype):
            # only here: a model that is being exported has no number of images to compare
            pixels = images[:, 0].numel() // (self.stride[0] * self.stride[1])
            if pixels <= MAX_PIXELS * self.out_channels:
                return _ByProduct.apply(images, self.weight.to(images.dtype), self.stride)
        return super().forward(images)


def _pays(dtype: torch.dtype) -> bool:
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return dtype == torch.bfloat16 or (dtype == torch.float32 and not wide)


class _ByProduct(torch.autograd.Function):
    @staticmethod
    def forward(context, images: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride = stride
        return functional.conv2d(images, weight, stride=stride, padding=1)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        images, weight = context.saved_tensors
        of_images = None
        if context.needs_input_grad[0]:
            of_images = grad.conv2d_input(images.shape, weight, gradient, context.stride, padding=1)
        padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        windows = padded.unfold(1, 3, context.stride[0]).unfold(2, 3, context.stride[1])
        windows = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, 9 * images.shape[1])
        of_outputs = gradient.permute(0, 2, 3, 1).reshape(-1, len(weight))
        of_weight = (of_outputs.T @ windows).view(len(weight), 3, 3, -1).permute(0, 3, 1, 2)
        return of_images, of_weight, None


def replace(model: nn.Module) -> None:
    """Make the convolutions of `model` that `Conv2d` is for of that class; nothing else of them changes."""
    for layer in model.modules():
        if type(layer) is nn.Conv2d and _is_plain(layer):
            layer.__class__ = Conv2d


def _is_plain(layer: nn.Conv2d) -> bool:
    square = layer.kernel_size == (3, 3) and layer.padding == layer.dilation == (1, 1)
    return square and layer.groups == 1 and layer.bias is None and layer.padding_mode == "zeros"
