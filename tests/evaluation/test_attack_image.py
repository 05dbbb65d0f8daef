"""The predictions on one attacked image: the original, the rounded and the unrounded attack."""

import pytest
import torch
from torch import nn

from carcls.evaluation.attack_image import attack_image
from carcls.evaluation.example import AttackSpec

CLASSES = ["a", "b", "c", "d"]


@pytest.fixture
def model() -> nn.Module:
    """A model that predicts a for bright and b for dark images. Two other classes are always unlikely."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[9.0] * 3, [-9.0] * 3, [0.0] * 3, [1.0] * 3]))
        model[2].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -2.0]))
    return model


def answer(model: nn.Module, levels: float) -> dict[str, float]:
    """The probabilities of an image whose values are `levels` of 255."""
    pixels = torch.full((1, 3, 8, 8), levels / 255) * 2 - 1
    return dict(zip(CLASSES, model(pixels).softmax(1)[0].tolist(), strict=True))


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_predictions_are_on_the_image_the_rounded_and_the_unrounded_attack(model, kind):
    spec = AttackSpec(kind, epsilon=4.25 / 255, steps=3, target="b")
    pixels = torch.full((1, 3, 8, 8), 130 / 255)
    found = attack_image(model, pixels, 0, "x", CLASSES, spec, CLASSES.index("b"), seed=1)
    row = found.row
    assert (row.original == 130).all() and (row.adversarial == 126).all() and (row.noise == -1).all()
    before, after, unrounded = (answer(model, levels) for levels in (130, 126, 125.75))
    for top, expected in ((row.before, before), (row.after, after)):
        ranked = sorted(expected, key=expected.get, reverse=True)[:3]
        assert [name for name, _ in top] == ranked
        assert dict(top) == pytest.approx({name: expected[name] for name in ranked}, abs=1e-5)
    assert [name for name, _ in row.before] == ["a", "b", "c"] and row.rank_after == [2, 1, 3]
    assert found.unrounded == ("b", pytest.approx(unrounded["b"], abs=1e-5))
    assert found.target == ("b", pytest.approx(before["b"], abs=1e-5), pytest.approx(after["b"], abs=1e-5))


def test_without_a_target_the_attack_moves_away_from_the_class_and_noise_is_random(model):
    pixels = torch.full((1, 3, 8, 8), 130 / 255)
    for kind in ("fgsm", "pgd"):
        found = attack_image(model, pixels, 0, "x", CLASSES, AttackSpec(kind, 0.1), None, seed=1)
        assert found.target is None and found.row.actual == "a" and (found.row.noise == -1).all()
    noise = attack_image(model, pixels, 0, "x", CLASSES, AttackSpec("noise", 10 / 255), None, seed=1).row
    assert set(noise.adversarial.ravel()) == {120, 140}
