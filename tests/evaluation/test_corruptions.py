import numpy as np
import pandas as pd
import pytest
import torch

from carcls.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Corrupted, corruptions
from carcls.learning.loading import ImageSet
from carcls.learning.model import build_model


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """30 smooth images of 64 pixels."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(60, 190, (30, 3, 6, 6)).astype(np.float32))
    pixels = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")
    return ImageSet(pixels.byte(), torch.arange(30) % 3)


def changes(images: ImageSet, name: str) -> list[float]:
    """Mean change of a pixel value at each severity."""
    corrupted = Corrupted(images, name, seed=1)
    gaps = corrupted.read(range(30)).float() - images.read(range(30)).float()
    return [
        gaps[corrupted.severities == severity].abs().mean().item() for severity in range(1, SEVERITIES + 1)
    ]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_an_image_more(images, name):
    mild, middle, strong = changes(images, name)
    assert 0 < mild < middle < strong


def test_corruptions_have_their_nominal_strength(images):
    original = images.read(range(30)).float()
    noise = Corrupted(images, "noise", seed=1)
    gaps = (noise.read(range(30)).float() - original) / 255
    # not severity 3, at which more of the noise is clipped
    for severity, std in zip((1, 2), CORRUPTIONS["noise"][1], strict=False):
        assert gaps[noise.severities == severity].std() == pytest.approx(std, rel=0.05)
    bright = Corrupted(images, "brightness", seed=1)
    first = bright.severities == 1
    assert (bright.read(range(30))[first].float() - original[first]).mean() == pytest.approx(25.5, abs=0.5)
    contrast = Corrupted(images, "contrast", seed=1)
    last = contrast.severities == 3
    expected = 127.5 + 0.2 * (original[last] - 127.5)
    assert (contrast.read(range(30))[last].float() - expected).abs().max() <= 1


def test_a_corruption_depends_on_the_seed_but_not_on_the_batch(images):
    for name in ("noise", "rotation"):
        corrupted = Corrupted(images, name, seed=1)
        together = corrupted.read(range(30))
        assert (corrupted.read(torch.tensor([7, 3])) == together[[7, 3]]).all()
        assert (Corrupted(images, name, seed=2).read(range(30)) != together).any()


def test_equal_images_get_different_noise():
    equal = ImageSet(torch.full((4, 3, 32, 32), 128, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    first, *_, fourth = Corrupted(equal, "noise", seed=1).read(range(4))  # both at severity 1
    assert (first != fourth).any()


def test_each_image_has_each_corruption_once_and_all_severities(images):
    severities = torch.stack([Corrupted(images, name, seed=1).severities for name in CORRUPTIONS])
    assert all((row.bincount()[1:] == 10).all() for row in severities)
    for severity in range(1, SEVERITIES + 1):
        assert (severities == severity).any(0).all()


def test_accuracies_equal_those_of_the_predictions(images):
    model = build_model("resnet18", 3, seed=1).eval()
    table = corruptions(model, images, torch.device("cpu"), 1)
    assert table[["corruption", "severity"]].apply(tuple, axis=1).to_list() == [
        (name, severity) for name in CORRUPTIONS for severity in range(1, SEVERITIES + 1)
    ]
    assert (table.images == 10).all()
    corrupted = Corrupted(images, "blur", seed=1)
    with torch.inference_mode():
        answers = model((corrupted.read(range(30)).float() / 255 - 0.5) / 0.5).argmax(1)
    right = pd.Series((answers == corrupted.labels).numpy()).groupby(corrupted.severities.numpy()).mean()
    assert table[table.corruption == "blur"].accuracy.to_list() == pytest.approx(right.to_list())
    pd.testing.assert_frame_equal(corruptions(model, images, torch.device("cpu"), 1), table)
