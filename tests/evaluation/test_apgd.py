import pytest
import torch
from conftest import DEVICE

from carcls.evaluation import attack
from carcls.evaluation.apgd import _checkpoints, apgd, targeted_dlr
from carcls.evaluation.scores import predict
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.learning.model import build_model
from carcls.params import Attack

ON = torch.device(DEVICE)
EPSILON = 0.02  # PGD fails on some images of an untrained network at this size, FGSM on nearly all


@pytest.fixture(scope="module")
def model():
    return build_model("resnet18", 12, seed=1).eval()


@pytest.fixture(scope="module")
def correct(model, data):
    """The test images with the predictions of the model as labels."""
    test = ArchiveSet(data / "images/test.tar")
    images = test.read(range(len(test)))
    return ImageSet(images, predict(model, test, ON).argmax(1))


def accuracy(logits, images) -> float:
    return (logits.argmax(1) == images.labels).double().mean().item()


def test_apgd_is_stronger_than_pgd_and_skips_misclassified_images(model, correct):
    settings = Attack(steps=10, step_size=EPSILON / 4, restarts=1, apgd_steps=0)
    by_pgd = accuracy(attack.pgd(model, correct, EPSILON, settings, ON, seed=1), correct)
    answers = apgd(model, correct, EPSILON, 10, ON, seed=1)
    assert accuracy(answers, correct) < by_pgd < 1
    assert torch.equal(answers, apgd(model, correct, EPSILON, 10, ON, seed=1))
    wrong = ImageSet(correct.read(range(len(correct))), (correct.labels + 1) % 12)
    assert torch.equal(apgd(model, wrong, EPSILON, 10, ON, seed=1), predict(model, correct, ON))


def test_apgd_stays_within_epsilon_and_the_range(model, correct):
    seen = []
    hook = model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    one = ImageSet(correct.read([0]), correct.labels[:1])
    apgd(model, one, EPSILON, 12, ON, seed=1)
    hook.remove()
    pixels, moved = one.read([0]).float() / 255, torch.cat(seen).cpu() / 2 + 0.5
    assert (moved - pixels).abs().max() <= EPSILON + 1e-6 and moved.min() >= 0 and moved.max() <= 1


def test_checkpoints_are_those_of_the_paper():
    # the first after 22 of 100 steps; each interval is 3 steps shorter, but has at least 6
    assert list(_checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_the_targeted_loss_is_that_of_the_paper():
    logits = torch.tensor([[4.0, 3.0, 1.0, 0.0, -2.0]])
    one, none = torch.tensor([1]), torch.tensor([0])
    assert targeted_dlr(logits, none, one).item() == pytest.approx(-(4 - 3) / (4 - (1 + 0) / 2))
    assert targeted_dlr(logits[:, :3], none, one).item() == -1
