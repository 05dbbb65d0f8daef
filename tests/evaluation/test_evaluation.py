import math
import tracemalloc

import numpy as np
import pytest
import torch
from conftest import DEVICE
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from carcls.evaluation import attack
from carcls.evaluation.example import example_rows
from carcls.evaluation.scores import confusion, entropy, macro_f1, per_class, predict, predictions, scores
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.learning.model import build_model, normalise
from carcls.learning.perturbation import descend, draw, gradient_sign, perturb
from carcls.params import Attack

ON = torch.device(DEVICE)
LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
LABELS = torch.tensor([0, 1, 1, 2])


@pytest.fixture(scope="module")
def test_set(data):
    return ArchiveSet(data / "images/test.tar")


@pytest.fixture(scope="module")
def model():
    return build_model("resnet18", 12, seed=1).eval().to(ON)


def test_scores_by_class_equal_those_of_scikit_learn(rng):
    labels = torch.from_numpy(rng.integers(5, size=300))
    labels[labels == 1] = 0  # class 1 is only predicted, class 6 does not occur
    predicted = torch.where(torch.from_numpy(rng.random(300)) < 0.7, labels, (labels + 3) % 6)
    assert macro_f1(predicted, labels) == pytest.approx(f1_score(labels, predicted, average="macro"))
    logits, names = torch.nn.functional.one_hot(predicted, 7).float(), list("abcdefg")
    expected = precision_recall_fscore_support(labels, predicted, labels=range(7), zero_division=0)
    assert per_class(logits, labels, names).drop(columns="class").to_numpy().T.tolist() == [
        column.tolist() for column in expected
    ]
    matrix = confusion_matrix(labels, predicted, labels=range(7))
    assert confusion(logits, labels, names).values.tolist() == [
        [names[actual], names[answer], matrix[actual, answer]]
        for actual, answer in zip(*matrix.nonzero(), strict=True)
    ]


def test_scores_equal_those_computed_by_hand():
    result = scores(LOGITS, LABELS)
    assert result["accuracy"] == 0.75
    assert result["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert result["top5"] == 1
    assert result["loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.6]).mean())
    by_hand = [-sum(p * math.log(p) for p in row) for row in LOGITS.exp().tolist()]
    assert result["entropy"] == pytest.approx(np.mean(by_hand))
    assert result["entropy_std"] == pytest.approx(np.std(by_hand))


def test_top5_counts_a_correct_class_among_the_five_highest():
    logits = torch.arange(6.0).repeat(2, 1)
    assert scores(logits, torch.tensor([0, 1]))["top5"] == 0.5


def test_a_model_can_be_attacked_on_the_device_of_its_predictions(test_set, monkeypatch):
    model = build_model("resnet18", 12, seed=1)
    # weights become new tensors, like after a move to a GPU
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    monkeypatch.setattr(model, "to", lambda device: model._apply(torch.clone))
    predict(model, test_set, torch.device("cpu"))
    monkeypatch.undo()  # the model is on the device
    attack.attack(model, test_set, [0.0, 0.01], torch.device("cpu"))


def test_a_certain_prediction_has_zero_entropy():
    assert entropy(torch.tensor([[1000.0, 0.0]])).item() == 0


def test_the_confusion_of_many_classes_stores_only_pairs_that_occur():
    logits = torch.zeros(3, 9170)
    logits[[0, 1, 2], [9169, 5, 9169]] = 1
    tracemalloc.start()
    table = confusion(logits, torch.tensor([9169, 9169, 9169]), [str(place) for place in range(9170)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.values.tolist() == [["9169", "5", 1], ["9169", "9169", 2]]
    assert peak < 2**24


def test_per_class_and_confusion_count_the_same_images():
    rows = per_class(LOGITS, LABELS, ["a", "b", "c"])
    assert rows["support"].tolist() == [1, 2, 1]
    assert rows["recall"].tolist() == [1, 0.5, 1]
    table = confusion(LOGITS, LABELS, ["a", "b", "c"])
    assert table.values.tolist() == [["a", "a", 1], ["b", "a", 1], ["b", "b", 1], ["c", "c", 1]]


def test_predictions_have_the_name_and_confidence_of_each_image():
    rows = predictions(LOGITS, LABELS, ["w", "x", "y", "z"], ["a", "b", "c"])
    assert rows[["name", "actual", "predicted"]].values.tolist() == [
        ["w", "a", "a"],
        ["x", "b", "a"],
        ["y", "b", "b"],
        ["z", "c", "c"],
    ]
    assert rows["confidence"].tolist() == pytest.approx([0.7, 0.6, 0.8, 0.6])
    assert rows["entropy"].tolist() == pytest.approx(entropy(LOGITS).tolist())


def test_fgsm_moves_every_pixel_by_epsilon_and_increases_the_loss(model, test_set):
    pixels = test_set.read(range(4)).to(ON).float() / 255
    labels = test_set.labels[:4].to(ON)
    model.requires_grad_(False)
    sign = gradient_sign(model, pixels, labels)
    attacked = perturb(pixels, sign, 0.01)
    assert attacked.min() >= 0 and attacked.max() <= 1
    moved = (attacked - pixels).abs()
    inside = (pixels > 0.01) & (pixels < 0.99) & (sign != 0)
    assert moved[inside].cpu().numpy() == pytest.approx(0.01, abs=1e-6)
    with torch.no_grad():
        before, after = (
            torch.nn.functional.cross_entropy(model(normalise(x)), labels) for x in (pixels, attacked)
        )
    assert after > before
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture
def correct(model, test_set):
    """The test images with the predictions of the model as labels."""
    images = test_set.read(range(len(test_set)))
    return ImageSet(images, predict(model, test_set, ON).argmax(1))


@pytest.mark.parametrize("steps", [0, 5])
def test_a_target_is_more_probable_after_an_attack_towards_it(model, test_set, steps):
    pixels, targets = test_set.read(range(8)).float() / 255, torch.arange(8) + 4
    model.cpu().requires_grad_(False)
    if steps:
        sizes = {"epsilon": 0.005, "steps": steps, "step_size": 0.0025}
        moved = descend(model, pixels, targets, torch.zeros_like(pixels), targeted=True, **sizes)
    else:
        moved = perturb(pixels, gradient_sign(model, pixels, targets, targeted=True), 0.005)
    assert (moved - pixels).abs().max() <= 0.005 + 1e-6
    before, after = (
        model(normalise(images)).softmax(1).gather(1, targets[:, None]) for images in (pixels, moved)
    )
    assert (after > before).all()


def test_noise_moves_every_value_by_epsilon_and_increases_the_loss_less_than_fgsm(model, correct):
    seen = []
    hook = model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    left = attack.noise(model, correct, 0.02, ON, seed=1)
    hook.remove()
    pixels, moved = correct.read(range(len(correct))).float() / 255, torch.cat(seen).cpu() / 2 + 0.5
    inside = (pixels > 0.02) & (pixels < 0.98)
    assert torch.allclose((moved - pixels).abs()[inside], torch.tensor(0.02), atol=1e-5)
    assert 0.45 < ((moved > pixels)[inside]).float().mean() < 0.55
    assert torch.equal(left, attack.noise(model, correct, 0.02, ON, seed=1))
    assert not torch.equal(left, attack.noise(model, correct, 0.02, ON, seed=2))
    of_fgsm = attack.attack(model, correct, [0.0, 0.02], ON)
    clean, noisy, attacked = (
        scores(logits, correct.labels)["loss"] for logits in (of_fgsm[0.0], left, of_fgsm[0.02])
    )
    assert noisy - clean < 0.5 * (attacked - clean)


def test_pgd_stays_within_epsilon_and_is_at_least_as_strong_as_fgsm(model, correct):
    pixels, labels = correct.read(range(len(correct))).to(ON).float() / 255, correct.labels.to(ON)
    settings = Attack(steps=10, step_size=0.004, restarts=1, apgd_steps=0)
    start = draw(pixels.shape, 1, "a test").to(ON)
    moved = descend(
        model.requires_grad_(False), pixels, labels, start, epsilon=0.01, steps=10, step_size=0.004
    )
    assert (moved - pixels).abs().max() <= 0.01 + 1e-6 and 0 <= moved.min() and moved.max() <= 1
    fast = attack.attack(model, correct, [0.01], ON)[0.01]
    slow = attack.pgd(model, correct, 0.01, settings, ON, seed=1)
    assert scores(slow, correct.labels)["loss"] > scores(fast, correct.labels)["loss"]
    assert torch.equal(slow, attack.pgd(model, correct, 0.01, settings, ON, seed=1))


def test_more_restarts_are_at_least_as_strong_on_each_image(model, correct):
    def lead(restarts: int) -> torch.Tensor:
        settings = Attack(steps=2, step_size=0.004, restarts=restarts, apgd_steps=0)
        logits = attack.pgd(model, correct, 0.01, settings, ON, seed=1)
        right = torch.nn.functional.one_hot(correct.labels, logits.shape[1]).bool()
        return logits.masked_fill(right, -torch.inf).amax(1) - logits[right]

    assert (lead(3) >= lead(1)).all() and (lead(3) > lead(1)).any()


def test_epsilon_zero_gives_the_clean_scores_exactly(model, test_set):
    attacked = attack.attack(model, test_set, [0.0, 0.05], ON)
    assert torch.equal(attacked[0.0], predict(model, test_set, ON))
    assert not torch.equal(attacked[0.05], attacked[0.0])
    rows = attack.sweep(attacked, test_set.labels)
    assert rows["epsilon"].tolist() == [0, 0.05]
    assert rows["f1"][0] == scores(attacked[0.0], test_set.labels)["f1"]


def test_examples_have_the_ranks_of_classes_under_attack(model, test_set):
    classes = test_set.classes
    [example] = attack.examples(model, test_set, [3], ["x.jpg"], classes, 0.05, ON)
    logits = attack.attack(model, test_set, [0.0, 0.05], ON)
    order = logits[0.05][3].argsort(descending=True).tolist()
    assert example.before[0][0] == classes[logits[0.0][3].argmax()]
    assert [name for name, _ in example.after] == [classes[place] for place in order[:3]]
    assert example.rank_after == [order.index(classes.index(name)) + 1 for name, _ in example.before]
    assert set(np.unique(example.noise)) <= {-1, 0, 1}
    assert example_rows([example])["rank_attacked"].tolist() == example.rank_after


def test_pick_takes_correct_predictions_at_even_quantiles_of_confidence():
    sureness = torch.tensor([3.0, 9, 1, 5, 8, 2, 7, 4, 6])
    logits = torch.stack([sureness, torch.zeros(9)], 1)
    labels = torch.tensor([0, 1, 0, 0, 0, 0, 0, 0, 0])  # the most confident prediction is wrong
    # confidences 8, 7, 6, 5, 4, 3, 2, 1: the middle of each half
    assert [sureness[place].item() for place in attack.pick(logits, labels, 2)] == [6, 2]
    assert sorted(attack.pick(logits, labels, 20)) == [0, 2, 3, 4, 5, 6, 7, 8]
    assert attack.pick(logits, torch.ones(9, dtype=torch.int64), 2) == [0, 1]
