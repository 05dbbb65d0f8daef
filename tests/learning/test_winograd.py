import pytest
import torch
from torch.nn import functional

from carcls.learning import winograd


def near(one, exact):
    return (one.double() - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (12, 6)])
def test_winograd_equals_the_convolution_and_its_gradients(size):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 8, *size, generator=generator).to(memory_format=torch.channels_last)
    weight = torch.randn(5, 8, 3, 3, generator=generator)
    uneven = torch.randn(3, 5, *size, generator=generator)
    leaves = [images.requires_grad_(), weight.requires_grad_()]
    output = winograd.conv2d(images, weight)
    gradients = torch.autograd.grad(output, leaves, uneven)

    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = functional.conv2d(*exact, padding=1)
    assert near(output, expected)
    for gradient, right in zip(gradients, torch.autograd.grad(expected, exact, uneven.double()), strict=True):
        assert near(gradient, right)
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("frozen", [0, 1])
def test_only_the_required_gradient_is_computed(frozen):
    images, weight = torch.ones(1, 2, 4, 4), torch.ones(2, 2, 3, 3)
    leaves = [images, weight]
    leaves[1 - frozen].requires_grad_()
    winograd.conv2d(images, weight).sum().backward()
    assert leaves[frozen].grad is None and leaves[1 - frozen].grad is not None
