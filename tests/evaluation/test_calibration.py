import pytest
import torch

from carcls.evaluation.calibration import calibration_scores, temperature


@pytest.fixture(scope="module")
def calibrated() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4000, 5), and labels drawn from their softmax, so that the temperature is 1."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(4000, 5)
    return logits, torch.multinomial(logits.softmax(1), 1)[:, 0]


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_temperature_is_the_scale_of_the_logits(calibrated, factor):
    logits, labels = calibrated
    assert temperature(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_the_temperature_is_finite_if_all_predictions_are_right_or_all_are_wrong():
    logits = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    right, wrong = (temperature(logits, torch.tensor(labels)) for labels in ([0, 1], [1, 0]))
    assert 0.5 < right < 2 < 10 < wrong < torch.inf


def test_scaling_removes_the_calibration_error_of_overconfident_logits(calibrated):
    logits, labels = calibrated
    scores = calibration_scores(3 * logits, labels)
    assert scores["ece"] > 0.15 > 0.04 > scores["ece_scaled"]
    assert scores["loss_scaled"] < scores["loss"]
    assert scores["images"] == 4000


def test_the_temperature_of_an_image_is_fitted_on_other_images(calibrated):
    logits, labels = calibrated[0][:40].clone(), calibrated[1][:40]
    scores = calibration_scores(3 * logits, labels)
    best = torch.nn.functional.cross_entropy(3 * logits / scores["temperature"], labels)
    assert scores["loss_scaled"] > best.item()
