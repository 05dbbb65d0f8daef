import platform

import pytest
import torch
from torch import nn
from torch.nn import functional

from carcls.learning import kernels, training, winograd
from carcls.learning.loading import ImageSet
from carcls.learning.model import build_model

CPU = torch.device("cpu")


@pytest.fixture
def avx2(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the images that winograd.conv2d was called with."""
    shapes, conv2d = [], winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *given: shapes.append(given[0].shape) or conv2d(*given))
    return shapes


def layer_of(**settings):
    return nn.Conv2d(
        **{"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1, "bias": False} | settings
    )


def test_winograd_is_used_only_inside_the_context(avx2, calls):
    torch.manual_seed(1)
    layer, images = layer_of(), torch.randn(32, 128, 8, 8)
    with kernels.applied(CPU, torch.float32):
        filtered = layer(images)
    assert len(calls) == 1
    plain = layer(images)
    assert len(calls) == 1 and torch.allclose(filtered, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("machine", "capability", "device", "precision"),
    [
        ("x86_64", "AVX512", "cpu", torch.float32),
        ("x86_64", "DEFAULT", "cpu", torch.float32),
        ("x86_64", "AVX2", "cpu", torch.bfloat16),
        ("x86_64", "AVX2", "cuda", torch.float32),
        ("aarch64", "DEFAULT", "cpu", torch.float32),
        ("arm64", "AVX2", "cpu", torch.float32),
    ],
)
def test_winograd_is_not_used_where_it_was_not_measured(
    machine, capability, device, precision, calls, monkeypatch
):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with kernels.applied(torch.device(device), precision):
        layer_of()(torch.zeros(32, 128, 8, 8))
    assert calls == []


@pytest.mark.parametrize(
    ("other", "images"),
    [
        ({"bias": True}, 32),
        ({"groups": 2}, 32),
        ({"padding": 0}, 32),
        ({"padding": "same"}, 32),
        ({"dilation": 2}, 32),
        ({"stride": 2}, 32),
        ({"kernel_size": 1}, 32),
        ({"padding_mode": "circular"}, 32),
        ({"out_channels": 64}, 32),  # transforming the tiles would cost more than is saved
        ({}, 7),  # transforming the kernels would cost more than is saved
        ({}, 1025),  # its tiles would take too much memory
    ],
)
def test_winograd_is_not_used_for_other_convolutions(other, images, avx2, calls):
    with kernels.applied(CPU, torch.float32):
        layer_of(**other)(torch.zeros(images, 128, 8, 8))
    assert calls == []


def test_winograd_is_not_used_without_gradients(avx2, calls):
    with kernels.applied(CPU, torch.float32), torch.no_grad():
        layer_of()(torch.zeros(32, 128, 8, 8))
    assert calls == []


def test_winograd_is_not_used_for_calls_with_keywords(avx2, calls):
    given = {"input": torch.ones(32, 128, 8, 8), "weight": torch.ones(128, 128, 3, 3), "padding": (1, 1)}
    with kernels.applied(CPU, torch.float32):
        output = functional.conv2d(**given, stride=(1, 1), dilation=(1, 1))
    assert output[0, 0, 4, 4] == 128 * 9 and calls == []


def test_the_gradients_of_a_model_are_unchanged(avx2, calls):
    model = build_model("resnet18", 3, seed=1)
    images = torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(2))

    def gradients():
        model.zero_grad()
        model(images).square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    with kernels.applied(CPU, torch.float32):
        filtered = gradients()
    assert len(calls) == 9  # all convolutions of layer2 to layer4 except the first of each
    for name, gradient in gradients().items():
        # rounding can change whether a ReLU passes a value near zero
        assert (filtered[name] - gradient).norm() <= 0.02 * gradient.norm(), name


@pytest.mark.parametrize("fast", [True, False])
def test_fit_uses_winograd_only_in_training(fast, avx2, calls):
    model, size = build_model("resnet18", 2, seed=1), 64
    pixels = torch.randint(0, 256, (32, 3, size, size), dtype=torch.uint8)
    images = ImageSet(pixels.to(memory_format=torch.channels_last), torch.arange(32) % 2)
    recipe = training.Recipe(
        frozen_layers=0,
        epochs=2,
        patience=2,
        optimizer="adamw",
        batch_size=32,
        lr=1e-3,
        head_lr_multiplier=1,
        weight_decay=0.01,
        device=CPU,
        precision=torch.float32,
        seed=1,
    )
    of_training = 9 if fast else 0  # convolutions per epoch, which has one batch
    for number, _ in enumerate(training.fit(model, images, images, recipe, fast_kernels=fast), 1):
        assert len(calls) == of_training * number  # none in validation
        model(torch.zeros(32, 3, size, size))  # between epochs, the model of the caller does not use winograd
        assert len(calls) == of_training * number
