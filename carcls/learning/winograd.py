"""3 x 3 convolutions with a quarter of the multiplications: Winograd's minimal filtering F(4 x 4, 3 x 3).

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks". An image is cut into 6 x 6 tiles
that overlap by two pixels; each tile gives 4 x 4 outputs. Tiles and kernels are transformed and multiplied
point by point: over channels, that is one matrix product for each of the 36 points. Transforming the products
gives the outputs. The gradients are the transposes of these linear maps.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 4  # of a tile's outputs, in pixels
POINTS = (0, 1, -1, 2, -1 / 2)  # where polynomials are evaluated; chosen for small rounding errors


def conv2d(images: Tensor, weight: Tensor) -> Tensor:
    """`functional.conv2d(images, weight, padding=1)` with relative rounding errors of about 2e-6.

    `images`: (n, in, h, w) float32; `weight`: (out, in, 3, 3) float32. Returns (n, out, h, w), channels last.
    The transformed tiles are kept for the gradient: 2.25 times the memory of `images`, or a little more.
    """
    return _Conv2d.apply(images, weight)


def tiles(images: Tensor) -> int:
    """The number of tiles of `images`, (n, in, h, w)."""
    count, _, height, width = images.shape
    return count * -(-height // SIDE) * -(-width // SIDE)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(context, images: Tensor, weight: Tensor) -> Tensor:
        of_tile, of_kernel, of_output = _matrices()
        height, width = images.shape[2:]
        borders = (0, 0, 1, 1 + -width % SIDE, 1, 1 + -height % SIDE)
        padded = functional.pad(images.permute(0, 2, 3, 1), borders)
        windows = padded.unfold(1, SIDE + 2, SIDE).unfold(2, SIDE + 2, SIDE)
        inputs = _transform(of_tile, windows.permute(4, 5, 0, 1, 2, 3))
        kernels = _transform(of_kernel, weight.permute(2, 3, 0, 1))
        context.save_for_backward(inputs, kernels)  # computing them again would take 6 % of a training step
        products = torch.bmm(_points(inputs), _points(kernels).mT)
        outputs = _transform(of_output, products.view(*inputs.shape[:-1], -1))
        outputs = outputs.permute(2, 3, 0, 4, 1, 5).contiguous().flatten(3, 4).flatten(1, 2)
        return outputs[:, :height, :width].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, kernels = context.saved_tensors
        of_tile, of_kernel, of_output = (matrix.T for matrix in _matrices())
        height, width = gradient.shape[2:]
        gradient = functional.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, -width % SIDE, 0, -height % SIDE))
        squares = gradient.unflatten(1, (-1, SIDE)).unflatten(3, (-1, SIDE)).permute(2, 4, 0, 1, 3, 5)
        of_outputs = _transform(of_output, squares)
        of_images = of_weight = None
        if context.needs_input_grad[0]:
            products = torch.bmm(_points(of_outputs), _points(kernels)).view_as(inputs)
            sums = _overlap(_transform(of_tile, products))
            of_images = sums[:, 1 : 1 + height, 1 : 1 + width].permute(0, 3, 1, 2)
        if context.needs_input_grad[1]:
            products = torch.bmm(_points(of_outputs).mT, _points(inputs)).view_as(kernels)
            of_weight = _transform(of_kernel, products).permute(2, 3, 0, 1)
        return of_images, of_weight


@cache
def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of a tile, (6, 6), of a kernel, (6, 3), and of products to outputs, (4, 6).

    Each is applied to rows and to columns. They are the Toom-Cook multiplication of polynomials, transposed:
    evaluate at points, multiply, interpolate.
    """
    points = torch.tensor(POINTS, dtype=torch.float64)

    def evaluation(terms: int) -> Tensor:
        infinity = torch.eye(terms, dtype=torch.float64)[-1:]
        return torch.cat([torch.vander(points, terms, increasing=True), infinity])

    inputs = torch.linalg.inv(evaluation(SIDE + 2)).T
    return inputs.float(), evaluation(3).float(), evaluation(SIDE).T.float()


def _transform(matrix: Tensor, tiles: Tensor) -> Tensor:
    """`matrix` applied to the rows and columns of tiles: (b, b, ...) -> (a, a, ...) for (a, b)."""
    rows = matrix @ tiles.flatten(1)
    both = torch.bmm(matrix.expand(len(rows), -1, -1), rows.view(len(rows), len(tiles), -1))
    return both.view(len(rows), len(rows), *tiles.shape[2:])


def _points(tiles: Tensor) -> Tensor:
    """(6, 6, ..., channels) as a matrix for each point: (36, tiles, channels)."""
    return tiles.flatten(2, -2).flatten(0, 1)


def _overlap(tiles: Tensor) -> Tensor:
    """The padded images whose tiles these are; where tiles overlap, their sums.

    (6, 6, n, rows, columns, channels) -> (n, (rows + 1) x 4, (columns + 1) x 4, channels)
    """
    images, rows, columns, channels = tiles.shape[2:]
    sums = tiles.new_zeros(images, rows + 1, SIDE, columns + 1, SIDE, channels)
    places = sums.permute(2, 4, 0, 1, 3, 5)
    places[:, :, :, :-1, :-1] = tiles[:SIDE, :SIDE]
    places[:2, :, :, 1:, :-1] += tiles[SIDE:, :SIDE]
    places[:, :2, :, :-1, 1:] += tiles[:SIDE, SIDE:]
    places[:2, :2, :, 1:, 1:] += tiles[SIDE:, SIDE:]
    return sums.flatten(3, 4).flatten(1, 2)
