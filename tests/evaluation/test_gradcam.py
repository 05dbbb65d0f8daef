"""Grad-CAM finds the car beside noise, and gives equal bytes for equal images."""

import numpy as np
import pytest
import torch
from torch import nn

from carcls.demo import photographs as demo
from carcls.evaluation import heatmap
from carcls.evaluation.gradcam import heat, layer
from carcls.imageset import images
from carcls.learning.model import build_model, normalise
from carcls.study import heat as drawing

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cars() -> torch.Tensor:
    drawn = demo.photographs(demo.TARGET[:4], 1, 4, 0)
    pixels = [images.resize(images.decode(car.data, car.name), 128) for car in drawn]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def noise(cars) -> torch.Tensor:
    return torch.randint(0, 256, cars.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model(cars, noise) -> nn.Module:
    """An untrained network whose classifier separates cars from noise by their mean features."""
    model = build_model("resnet18", 2, seed=1)
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten())
    with torch.no_grad():
        for _ in range(20):  # for the statistics of BatchNorm
            model.train()(normalise(torch.cat([cars, noise])))
        model.eval()
        car, other = (body(normalise(pixels)).mean(0) for pixels in (cars, noise))
        model.fc.weight.copy_(torch.stack([car - other, other - car]))
        model.fc.bias.zero_()
    return model


@pytest.mark.parametrize("car_first", [True, False])
def test_the_heat_of_a_car_beside_noise_lies_on_the_car(model, cars, noise, car_first):
    both = torch.cat([cars, noise] if car_first else [noise, cars], 3)
    maps = heat(model, both, torch.zeros(len(both), dtype=torch.int64), CPU)
    assert maps.shape == (16, 4, 8) and maps.amax((1, 2)).eq(1).all() and maps.min() == 0
    left, right = maps[:, :, :4].sum((1, 2)), maps[:, :, 4:].sum((1, 2))
    assert ((left if car_first else right) / (left + right)).min() > 0.9


@pytest.mark.parametrize(
    ("size", "name"), [(224, "layer4"), (97, "layer4"), (96, "layer3"), (64, "layer3"), (8, "layer1")]
)
def test_the_layer_is_the_deepest_whose_map_has_four_by_four_cells(model, cars, size, name):
    small = torch.nn.functional.interpolate(cars[:1].float() / 255, size)
    [cells] = heat(model, small, torch.zeros(1, dtype=torch.int64), CPU)
    strides = {"layer4": 32, "layer3": 16, "layer1": 4}
    assert layer(size) == name and cells.shape == (-(-size // strides[name]),) * 2
    assert min(cells.shape) >= 4 or name == "layer1"


def test_the_heat_depends_on_the_class(model, cars, noise):
    both = torch.cat([cars, noise], 3)[:1].repeat(2, 1, 1, 1)
    of_car, of_noise = heat(model, both, torch.tensor([0, 1]), CPU)
    assert of_car[:, :4].sum() > of_car[:, 4:].sum() and of_noise[:, :4].sum() < of_noise[:, 4:].sum()


def test_equal_pictures_give_equal_bytes(model, cars):
    drawn = []
    for _ in range(2):
        maps = heat(model, cars, torch.zeros(len(cars), dtype=torch.int64), CPU).numpy()
        rows = heatmap.table([str(place) for place in range(len(maps))], maps, "layer4")
        image = cars[0].permute(1, 2, 0).numpy()
        drawn.append((rows.to_csv(), drawing.overlay(image, heatmap.read(rows.iloc[0])).tobytes()))
    assert drawn[0] == drawn[1]


def test_a_zero_heat_map_gives_a_grey_image_and_a_map_is_read_unchanged(rng):
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    cold = drawing.overlay(image, np.zeros((2, 3)))
    assert (cold == cold[..., :1]).all() and np.abs(cold[..., 0] - image.mean(2)).max() <= 0.5
    maps = np.round(rng.random((1, 2, 3)) * heatmap.LEVELS) / heatmap.LEVELS
    assert np.allclose(heatmap.read(heatmap.table(["a"], maps, "layer4").iloc[0]), maps[0])
