import pytest
import torch
from torch import nn

from carcls.learning import convolution, winograd
from carcls.learning.model import build


def layer_of(stride):
    torch.manual_seed(1)
    layer = nn.Conv2d(96, 64, 3, stride=stride, padding=1, bias=False).to(memory_format=torch.channels_last)
    layer.__class__ = convolution.Conv2d
    return layer


def close(one, other):
    return torch.allclose(one.double(), other, atol=0.01 * other.abs().max().item())


# of maps of one pixel oneDNN's own gradient was seen to be wrong in bfloat16: hence float64 to compare with
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (4, 3), (5, 5)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_products_are_the_convolution_and_its_gradient(stride, size, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    few = dtype == torch.float32 and max(size) <= 2 * stride
    ways, way = [], convolution._ByRuns if few else convolution._ByProduct
    apply = way.apply
    monkeypatch.setattr(way, "apply", lambda *given: ways.append(1) or apply(*given))
    layer = layer_of(stride)
    images = torch.randn(3, 96, *size).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = layer(images)
    uneven = torch.randn(output.shape).to(dtype)
    output.backward(uneven)
    assert len(ways) == 1 and layer.weight.grad.dtype == torch.float32

    exact = images.detach().double().requires_grad_()
    weight = layer.weight.detach().to(dtype).double().requires_grad_()
    expected = nn.functional.conv2d(exact, weight, stride=stride, padding=1)
    expected.backward(uneven.double())
    assert close(output, expected) and close(images.grad, exact.grad)
    assert close(layer.weight.grad, weight.grad)


@pytest.mark.parametrize(
    ("capability", "training", "images", "stride", "filtered"),
    [
        ("AVX2", True, 32, 1, True),
        ("DEFAULT", True, 32, 1, True),
        ("AVX512", True, 32, 1, False),
        ("AVX2", False, 32, 1, False),
        ("AVX2", True, 32, 2, False),
        ("AVX2", True, 1, 1, False),  # transforming the kernels would cost more than is saved
    ],
)
def test_float32_is_filtered_in_training_where_that_pays(
    capability, training, images, stride, filtered, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    sides = []
    conv2d = winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *given: sides.append(given[2]) or conv2d(*given))
    layer = layer_of(stride).train(training)
    batch = torch.randn(images, 96, 16, 16).to(memory_format=torch.channels_last)
    output = layer(batch)
    assert sides == [4] * filtered
    exact = nn.functional.conv2d(batch.double(), layer.weight.double(), stride=stride, padding=1)
    assert torch.allclose(output.double(), exact, atol=1e-4)


@pytest.mark.parametrize(("channels", "memory"), [(64, convolution.MAX_BYTES), (128, 2**20)])
def test_few_channels_are_not_filtered_nor_what_would_keep_too_much(channels, memory, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(convolution, "MAX_BYTES", memory)
    monkeypatch.setattr(winograd, "conv2d", None)  # calling it would fail
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    layer.__class__ = convolution.Conv2d
    layer(torch.zeros(32, channels, 12, 12))


def test_wide_maps_and_float32_with_avx512_are_left_to_pytorch(monkeypatch):
    for way in (convolution._ByProduct, convolution._ByRuns):
        monkeypatch.setattr(way, "apply", None)  # calling it would fail
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    layer = nn.Conv2d(4, 8, 3, padding=1, bias=False)
    layer.__class__ = convolution.Conv2d
    layer(torch.zeros(1, 4, 2, 2))
    with torch.autocast("cpu", torch.bfloat16):
        layer.eval()(torch.zeros(1, 4, 2, 2).bfloat16())
    layer.train()
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.zeros(1, 4, 20, 20).bfloat16())


@pytest.mark.parametrize(
    "other",
    [
        {"bias": True},
        {"groups": 2},
        {"padding": 0},
        {"dilation": 2},
        {"padding_mode": "circular"},
    ],
)
def test_convolutions_of_another_kind_are_left_alone(other):
    settings = {"padding": 1, "bias": False} | other
    model = nn.Sequential(nn.Conv2d(4, 8, 3, **settings), nn.Conv2d(4, 8, 3, padding=1, bias=False))
    convolution.replace(model)
    assert [type(layer) for layer in model] == [nn.Conv2d, convolution.Conv2d]


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_a_whole_model_keeps_its_gradients(arch):
    images = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    found = []
    for restore in (True, False):
        model = build(arch, 3, seed=1)
        for layer in model.modules():
            if restore and isinstance(layer, convolution.Conv2d):
                layer.__class__ = nn.Conv2d
        with torch.autocast("cpu", torch.bfloat16):
            model(images).float().square().sum().backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in found[0].items():
        difference = (found[1][name] - gradient).norm() / gradient.norm().clamp_min(1e-6)
        assert difference < 0.05, name


def test_a_model_is_exported_for_any_number_of_images():
    model, images = build("resnet18", 3, seed=1).eval(), torch.zeros(2, 3, 32, 32)
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
    assert exported.module()(torch.zeros(300, 3, 32, 32)).shape == (300, 3)
