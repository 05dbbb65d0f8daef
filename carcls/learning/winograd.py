"""3 x 3 convolutions with a quarter to a half of the multiplications: Winograd's minimal filtering.

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks". An image is cut into tiles that
overlap by two pixels. Tiles and kernels are transformed and multiplied point by point: over channels, that is
one matrix product for each point. Transforming the products gives the outputs. The gradients are the
transposes of these linear maps.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SIDES = (2, 3, 4)  # of a tile's outputs, in pixels
POINTS = (0, 1, -1, 2, -1 / 2)  # where polynomials are evaluated; these give small rounding errors


def conv2d(images: Tensor, weight: Tensor, side: int) -> Tensor:
    """`functional.conv2d(images, weight, padding=1)` by tiles of side x side outputs; `side` is one of SIDES.

    `images`: (n, in, h, w) float32; `weight`: (out, in, 3, 3) float32. Returns (n, out, h, w), channels last.
    Relative rounding errors, of gradients too, are about 4e-7, 1e-6 and 2e-6 for the three sides, where
    oneDNN's are 1e-7 to 4e-6. The transformed tiles are kept for the gradient.
    """
    return _Conv2d.apply(images, weight, side)


def tiles(images: Tensor, side: int) -> int:
    """The number of tiles of `images`, (n, c, h, w). Each has (side + 2) x (side + 2) points per channel."""
    count, _, height, width = images.shape
    return count * -(-height // side) * -(-width // side)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(context, images: Tensor, weight: Tensor, side: int) -> Tensor:
        of_tile, of_kernel, of_output = _matrices(side)
        height, width = images.shape[2:]
        borders = (0, 0, 1, 1 + -width % side, 1, 1 + -height % side)
        padded = functional.pad(images.permute(0, 2, 3, 1), borders)
        windows = padded.unfold(1, side + 2, side).unfold(2, side + 2, side)
        inputs = _transform(of_tile, windows.permute(4, 5, 0, 1, 2, 3))
        kernels = _transform(of_kernel, weight.permute(2, 3, 0, 1))
        context.save_for_backward(inputs, kernels)  # computing them again would take 6 % of a training step
        context.side = side
        outputs = torch.bmm(_points(inputs), _points(kernels).mT)
        outputs = _transform(of_output, outputs.view(*inputs.shape[:-1], -1))
        outputs = outputs.permute(2, 3, 0, 4, 1, 5).contiguous().flatten(3, 4).flatten(1, 2)
        return outputs[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        inputs, kernels = context.saved_tensors
        of_tile, of_kernel, of_output = (matrix.T for matrix in _matrices(context.side))
        height, width = gradient.shape[2:]
        borders = (0, 0, 0, -width % context.side, 0, -height % context.side)
        gradient = functional.pad(gradient.permute(0, 2, 3, 1), borders)
        rows, columns = inputs.shape[3:5]
        squares = gradient.unflatten(1, (rows, -1)).unflatten(3, (columns, -1)).permute(2, 4, 0, 1, 3, 5)
        of_outputs = _transform(of_output, squares)
        of_images = of_weight = None
        if context.needs_input_grad[0]:
            products = torch.bmm(_points(of_outputs), _points(kernels)).view_as(inputs)
            sums = _overlap(_transform(of_tile, products))
            of_images = sums[:, 1 : 1 + height, 1 : 1 + width].permute(0, 3, 1, 2)
        if context.needs_input_grad[1]:
            products = torch.bmm(_points(of_outputs).mT, _points(inputs)).view_as(kernels)
            of_weight = _transform(of_kernel, products).permute(2, 3, 0, 1)
        return of_images, of_weight, None


@cache
def _matrices(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of a tile, (side + 2, side + 2), of a kernel, (side + 2, 3), and of products to a tile's
    outputs, (side, side + 2). Each is applied to rows and to columns.

    They are the transposed Toom-Cook multiplication of polynomials: evaluate, multiply, interpolate.
    """
    points = torch.tensor(POINTS[: side + 1], dtype=torch.float64)

    def evaluation(terms: int) -> Tensor:
        infinity = torch.eye(terms, dtype=torch.float64)[-1:]
        return torch.cat([torch.vander(points, terms, increasing=True), infinity])

    inputs = torch.linalg.inv(evaluation(side + 2)).T
    return inputs.float(), evaluation(3).float(), evaluation(side).T.float()


def _transform(matrix: Tensor, tiles: Tensor) -> Tensor:
    """`matrix` applied to the rows and columns of tiles: (b, b, ...) -> (a, a, ...) for (a, b)."""
    rows = matrix @ tiles.flatten(1)
    both = torch.bmm(matrix.expand(len(rows), -1, -1), rows.view(len(rows), len(tiles), -1))
    return both.view(len(rows), len(rows), *tiles.shape[2:])


def _points(tiles: Tensor) -> Tensor:
    """(a, a, ..., channels) as a matrix for each point: (a x a, tiles, channels)."""
    return tiles.flatten(2, -2).flatten(0, 1)


def _overlap(tiles: Tensor) -> Tensor:
    """The padded images whose tiles these are; where tiles overlap, their sums.

    (side + 2, side + 2, n, rows, columns, channels) -> (n, (rows + 1) x side, (columns + 1) x side, channels)
    """
    side, (images, rows, columns, channels) = len(tiles) - 2, tiles.shape[2:]
    sums = tiles.new_zeros(images, rows + 1, side, columns + 1, side, channels)
    places = sums.permute(2, 4, 0, 1, 3, 5)
    places[:, :, :, :-1, :-1] = tiles[:side, :side]
    places[:2, :, :, 1:, :-1] += tiles[side:, :side]
    places[:, :2, :, :-1, 1:] += tiles[:side, side:]
    places[:2, :2, :, 1:, 1:] += tiles[side:, side:]
    return sums.flatten(3, 4).flatten(1, 2)
