"""Temperature scaling and novelty, compared with their definitions."""

import torch

from carcls.evaluation.calibration import FOLDS, cross_fitted, temperature
from carcls.evaluation.novelty import TrainingFeatures


def drawn(count: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the softmax of logits, and these logits times `scale`."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(count, 6, generator=generator)
    return scale * logits, logits.softmax(1).multinomial(1, generator=generator)[:, 0]


def test_the_temperature_undoes_overconfidence_and_underconfidence():
    for scale in (0.5, 1.0, 3.0):
        assert abs(temperature(*drawn(6000, scale)) / scale - 1) < 0.06


def test_a_few_correct_predictions_do_not_give_full_confidence():
    labels = torch.arange(6) % 3
    logits = 5.0 * torch.nn.functional.one_hot(labels).float()
    calibrated = (logits / temperature(logits, labels)).softmax(1).max(1).values
    assert 0.8 < calibrated.mean() < 0.95
    assert temperature(logits[:0], labels[:0]) == 1.0


def test_a_cross_fitted_prediction_does_not_depend_on_its_own_label():
    logits, labels = drawn(60, 3.0)
    first = torch.arange(60) % FOLDS == 0
    changed = torch.where(first, (labels + 1) % 6, labels)
    before, after = cross_fitted(logits, labels), cross_fitted(logits, changed)
    assert torch.equal(before[first], after[first])
    assert not torch.isclose(before[~first], after[~first]).all(1).any()
    assert torch.equal(before.argmax(1), logits.argmax(1))


def test_novelty_is_the_distance_to_the_fifth_nearest_training_image(tmp_path):
    features = torch.nn.functional.normalize(torch.rand(20, 8, generator=torch.Generator().manual_seed(1)))
    TrainingFeatures(features).save(tmp_path / "features.safetensors")
    training = TrainingFeatures.load(tmp_path / "features.safetensors")
    asked = features[[4, 11]]
    distances, places = training.nearest(asked)
    every = 1 - asked @ features.T
    assert places[:, 0].tolist() == [4, 11]
    assert torch.allclose(every.gather(1, places), distances, atol=1e-3)
    assert torch.allclose(distances, every.sort(1).values[:, :5], atol=1e-3)  # kept in float16
    assert TrainingFeatures(features[:2]).nearest(asked)[0].shape == (2, 2)
