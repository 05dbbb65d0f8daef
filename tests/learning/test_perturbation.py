"""Perturbed pixels, tested with a model whose gradients are known."""

import pytest
import torch
from torch import nn

from carcls.learning.perturbation import descend, draw, gradient_sign, gradient_sign_and_logits, perturb

LABELS = torch.tensor([0, 1])


@pytest.fixture
def model() -> nn.Module:
    """A model whose first logit rises with channel 1 and falls with channel 2. Channel 3 has no effect."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    return model


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.full((2, 3, 4, 4), 0.5)


def by_channel(values: list[list[float]]) -> torch.Tensor:
    return torch.tensor(values)[..., None, None].expand(2, 3, 4, 4)


AWAY = by_channel([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])


def test_the_sign_points_away_from_the_label_or_towards_a_target(model, pixels):
    assert torch.equal(gradient_sign(model, pixels, LABELS), AWAY)
    assert torch.equal(gradient_sign(model, pixels, LABELS, targeted=True), -AWAY)
    sign, logits = gradient_sign_and_logits(model, pixels, LABELS)
    assert torch.equal(sign, AWAY) and logits.shape == (2, 2) and not logits.requires_grad
    assert not pixels.requires_grad


def test_pixels_are_moved_by_epsilon_and_stay_in_range(pixels):
    assert torch.equal(perturb(pixels, AWAY, 0.25), pixels + 0.25 * AWAY)
    assert torch.equal(perturb(pixels, AWAY, 2.0), (AWAY + 1) / 2)


def test_descend_begins_at_start_and_stays_within_epsilon(model, pixels):
    def moved(start: torch.Tensor, steps: int, **options: bool) -> torch.Tensor:
        return descend(model, pixels, LABELS, start, epsilon=0.25, steps=steps, step_size=0.125, **options)

    start = by_channel([[0.5, -0.5, 1.0], [0.0, 0.0, -4.0]])
    assert torch.equal(moved(start, 0), pixels + 0.25 * start.clamp(-1, 1))
    still = torch.zeros_like(pixels)
    assert torch.equal(moved(still, 1), pixels + 0.125 * AWAY)
    assert torch.equal(moved(still, 1, targeted=True), pixels - 0.125 * AWAY)
    assert torch.equal(moved(still, 5), pixels + 0.25 * AWAY)
    wide = descend(model, pixels, LABELS, still, epsilon=0.75, steps=9, step_size=0.25)
    assert torch.equal(wide, (AWAY + 1) / 2)  # in [0, 1]


def test_draws_are_uniform_and_depend_on_seed_and_purpose():
    values = draw((3, 1000), 1, "a")
    assert values.shape == (3, 1000) and torch.equal(values, draw((3, 1000), 1, "a"))
    assert -1 <= values.min() < -0.99 and 0.99 < values.max() < 1 and values.mean().abs() < 0.05
    assert not torch.equal(values, draw((3, 1000), 2, "a"))
    assert not torch.equal(values, draw((3, 1000), 1, "b"))
