"""Convolutions that train faster on the CPU: as products of matrices, where that pays."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional, grad

from carcls.learning import winograd

MAX_PIXELS = 4  # of all outputs together, for each of their channels, up to which the product pays
MAX_SIDE = 2  # of one output, in pixels, up to which it pays to leave out what is multiplied by padding

# Winograd's filtering
TILE = 86  # kernels that a tile is multiplied with in the time that transforming it takes
KERNEL = 64  # tiles that a kernel is multiplied with in the time that transforming it takes
MAX_SHARE = 0.85  # of the time that a convolution takes to multiply, up to which it pays
MAX_BYTES = 2**26  # of the transformed tiles of a layer, which are kept for the gradient


class Conv2d(nn.Conv2d):
    """A 3 x 3 convolution, padded by 1, by products of matrices on the CPU where these were measured to pay.

    They pay in bfloat16, and in float32 without AVX-512, and give the same but for rounding. oneDNN has each
    thread add up a weight gradient of its own and then adds those, which for many channels and few pixels, as
    in the last layers of a ResNet, is much of the work: one product gives the gradient up to twice as fast.
    In that float32 there is more. In training, Winograd's filtering multiplies less, in half to five sixths
    of the time. Of maps of 2 x 2 pixels, more than half of what a convolution multiplies is padding: products
    of the rest stand for it, in all passes, in half the time. An exported model has none of these.
    """

    def forward(self, images: Tensor) -> Tensor:
        """`images`: (n, in_channels, h, w), channels last."""
        if images.device.type != "cpu" or not _pays(images.dtype) or torch.compiler.is_exporting():
            return super().forward(images)
        if images.dtype == torch.float32:
            if max(_sides(images, self.stride[0])) <= MAX_SIDE:
                return _ByRuns.apply(images, self.weight, self.stride[0])
            if self.training and self.stride == (1, 1) and (side := _tile(images, self.out_channels)):
                return winograd.conv2d(images, self.weight, side)
        pixels = images[:, 0].numel() // (self.stride[0] * self.stride[1])
        if self.training and pixels <= MAX_PIXELS * self.out_channels:
            return _ByProduct.apply(images, self.weight.to(images.dtype), self.stride)
        return super().forward(images)


def _tile(images: Tensor, out_channels: int) -> int | None:
    """The side of tiles by which Winograd's filtering of `images` costs least; None where it does not pay."""
    count, channels, height, width = images.shape

    def cost(side: int) -> float:  # in multiplications for each pair of channels
        of_tile = 1 + TILE * (1 / channels + 1 / out_channels)
        return (side + 2) ** 2 * (winograd.tiles(images, side) * of_tile + KERNEL)

    side = min(winograd.SIDES, key=cost)
    kept = winograd.tiles(images, side) * channels * (side + 2) ** 2 * images.itemsize
    pays = cost(side) <= MAX_SHARE * 9 * count * height * width
    return side if pays and kept <= MAX_BYTES else None


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


class _ByRuns(torch.autograd.Function):
    """For each output pixel, a product for each line of the window that lies on the image: see `_runs`."""

    @staticmethod
    def forward(context, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride = stride
        output = images.new_zeros(len(images), *_sides(images, stride), len(weight))
        for pixel, inputs, taps in _runs(output, _last(images), _last(weight), stride):
            pixel.addmm_(inputs, taps.T)
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = (_last(saved) for saved in context.saved_tensors)
        of_output, of_images, of_weight = _last(gradient), None, None
        if context.needs_input_grad[0]:
            sums = torch.zeros_like(images)
            for pixel, inputs, taps in _runs(of_output, sums, weight, context.stride):
                inputs.addmm_(pixel, taps)
            of_images = sums.permute(0, 3, 1, 2)
        if context.needs_input_grad[1]:
            sums = torch.zeros_like(weight)
            for pixel, inputs, taps in _runs(of_output, images, sums, context.stride):
                taps.addmm_(pixel.T, inputs)
            of_weight = sums.permute(0, 3, 1, 2)
        return of_images, of_weight, None


def _sides(images: Tensor, stride: int) -> tuple[int, int]:
    """Height and width of what the convolution makes of `images`."""
    height, width = ((pixels - 1) // stride + 1 for pixels in images.shape[2:])
    return height, width


def _last(tensor: Tensor) -> Tensor:
    """`tensor` with its channels last, in memory too."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _runs(outputs: Tensor, images: Tensor, weight: Tensor, stride: int) -> Iterator[tuple[Tensor, ...]]:
    """Matrices over (n, h, w, c) tensors, as views: an output pixel, a run of input pixels beside each other
    in its window, and the taps of the kernel that these meet: (n, out), (n, run x in), (out, run x in).
    """
    _, height, width, _ = images.shape
    for row, column in product(range(outputs.shape[1]), range(outputs.shape[2])):
        left, right = column * stride - 1, column * stride + 2
        run = slice(max(left, 0), min(right, width))
        for line in range(max(row * stride - 1, 0), min(row * stride + 2, height)):
            taps = weight[:, line - row * stride + 1, run.start - left : run.stop - left]
            inputs = images[:, line, run]
            yield outputs[:, row, column], inputs.view(len(inputs), -1), taps.view(len(taps), -1)


@contextmanager
def applied(model: nn.Module) -> Iterator[None]:
    """Inside, the convolutions of `model` that `Conv2d` is for are of that class."""
    layers = [layer for layer in model.modules() if type(layer) is nn.Conv2d and _is_plain(layer)]
    for layer in layers:
        layer.__class__ = Conv2d
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Conv2d


def _is_plain(layer: nn.Conv2d) -> bool:
    square = layer.kernel_size == (3, 3) and layer.padding == layer.dilation == (1, 1)
    return square and layer.groups == 1 and layer.bias is None and layer.padding_mode == "zeros"
