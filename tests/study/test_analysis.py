"""Statistics agree with scikit-learn, with slower implementations and with values computed by hand."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import f1_score, roc_curve

from carcls.base.scoring import calibration_error
from carcls.evaluation.shown import looked_at
from carcls.study import analysis

CARS = ["Audi A5 Coupe 2012", "Audi S4 Sedan 2007", "BMW M3 Coupe 2012", "Jaguar XK XKR 2012", "a bicycle"]


def answers(pairs: list[tuple[int, int]], confidence: list[float] | None = None) -> pd.DataFrame:
    actual, predicted = (np.array(CARS, dtype=object)[list(side)] for side in zip(*pairs, strict=True))
    return pd.DataFrame(
        {"actual": actual, "predicted": predicted, "confidence": confidence or [0.5] * len(pairs)}
    )


def confusion(counts: dict[tuple[int, int], int]) -> pd.DataFrame:
    rows = [(CARS[actual], CARS[predicted], count) for (actual, predicted), count in counts.items()]
    return pd.DataFrame(rows, columns=["actual", "predicted", "count"])


@pytest.fixture
def many(rng) -> pd.DataFrame:
    actual = rng.integers(5, size=300)
    predicted = np.where(rng.random(300) < 0.7, actual, rng.integers(5, size=300))
    return answers(list(zip(actual, predicted, strict=True)))


def test_differences_match_a_paired_t_test(rng):
    names = [f"{arch}-{config}" for arch in ("resnet18", "resnet34") for config in ("scratch", "freeze6")]
    scores = {name: (0.1 * place + 0.01 * rng.random(5)).tolist() for place, name in enumerate(names)}
    frame = analysis.differences(scores)
    assert list(zip(frame.higher, frame.lower, strict=True)) == [
        ("resnet18-freeze6", "resnet18-scratch"),
        ("resnet34-freeze6", "resnet34-scratch"),
        ("resnet34-scratch", "resnet18-scratch"),
        ("resnet34-freeze6", "resnet18-freeze6"),
    ]
    for row in frame.itertuples():
        expected = ttest_rel(scores[row.higher], scores[row.lower]).confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx(expected)
        assert row.difference == pytest.approx((row.low + row.high) / 2)


def test_differences_are_corrected_for_the_number_of_pairs():
    scores = {
        "resnet18-a": [0.80, 0.82, 0.81],
        "resnet18-b": [0.70, 0.721, 0.709],
        "resnet18-c": [0.65, 0.661, 0.679],  # against b: p = 0.03, too large for four pairs
        "resnet34-d": [0.80, 0.82, 0.81],  # in no pair
        "resnet50-e": [0.5, 0.6, 0.7],
        "resnet50-f": [0.5, 0.6, 0.7],
    }
    rows = analysis.differences(scores).itertuples()
    significant = {(row.higher[-1], row.lower[-1]): row.significant for row in rows}
    expected = {("a", "b"): "yes", ("a", "c"): "yes", ("b", "c"): "uncorrected", ("e", "f"): "no"}
    assert significant == expected


def test_intervals_match_a_bootstrap_with_scikit_learn(many, monkeypatch):
    monkeypatch.setattr(analysis, "RESAMPLES", 50)
    fast = analysis.intervals(many, np.random.default_rng(3))
    draws = np.random.default_rng(3).integers(len(many), size=(50, len(many)))
    samples = [many.iloc[draw] for draw in draws]
    f1 = [f1_score(sample.actual, sample.predicted, average="macro") for sample in samples]
    accuracy = [(sample.actual == sample.predicted).mean() for sample in samples]
    assert fast["f1"] == pytest.approx(np.quantile(f1, (0.025, 0.975)))
    assert fast["accuracy"] == pytest.approx(np.quantile(accuracy, (0.025, 0.975)))


def test_bootstrap_needs_memory_for_one_resample_only(rng):
    classes = np.array([f"Class {place}" for place in range(3000)], dtype=object)
    frame = pd.DataFrame({"actual": classes, "predicted": rng.permutation(classes)})
    entropy = pd.Series(rng.random(3000))
    tracemalloc.start()
    analysis.intervals(frame, rng)
    analysis.detection(entropy, entropy, rng)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23


def test_interval_width_matches_the_normal_approximation(many):
    low, high = analysis.intervals(many, np.random.default_rng(0))["accuracy"]
    accuracy = (many.actual == many.predicted).mean()
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 300), rel=0.1)


def test_calibration_matches_values_computed_by_hand():
    frame = answers([(0, 0), (0, 1), (1, 1), (2, 2)], [0.95, 0.91, 1.0, 0.1])
    bins = analysis.calibration(frame)
    assert bins.images.to_list() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]  # 0.1 is the upper end of the first bin
    outside = analysis.calibration(answers([(0, 0), (0, 0)], [0.0, 1 + 1e-7]))  # float32 may round to this
    assert outside.images.to_list() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    last = bins.iloc[-1]
    assert (last.accuracy, last.confidence) == pytest.approx((2 / 3, 2.86 / 3))
    assert calibration_error(frame.confidence, frame.actual == frame.predicted) == pytest.approx(
        (3 * (2.86 - 2) / 3 + (1 - 0.1)) / 4
    )


def test_coverage_accepts_the_highest_confidence_first():
    frame = pd.DataFrame({"actual": [*"aabb"], "predicted": [*"abbb"], "confidence": [0.9, 0.4, 0.5, 0.8]})
    curve = analysis.coverage(frame)
    assert curve.coverage.to_list() == [0.25, 0.5, 0.75, 1]
    assert curve.accuracy.to_list() == [1, 1, 1, 0.75]
    assert analysis.coverage(frame[:2]).accuracy.to_list() == [1, 0.5]


def test_confused_pairs_count_both_directions():
    pairs = analysis.confused_pairs(confusion({(0, 0): 9, (0, 1): 1, (1, 0): 3, (2, 0): 2, (1, 1): 5}))
    assert pairs.to_numpy().tolist() == [[CARS[1], CARS[0], 3, 1, 4], [CARS[2], CARS[0], 2, 0, 2]]


def test_same_make_compares_errors_with_chance():
    counts = confusion(
        {(0, 0): 9, (0, 1): 3, (0, 4): 1, (2, 1): 2, (4, 0): 7}
    )  # errors of the bicycle do not count
    found = analysis.same_make(counts, CARS)
    assert found == {"errors": 6, "inside": 3 / 6, "chance": pytest.approx((4 * 1 / 4 + 2 * 0 / 4) / 6)}


@pytest.mark.parametrize("classes", [CARS, CARS[1:]])
def test_same_make_is_none_without_errors_or_shared_makes(classes):
    counts = {(0, 0): 9} if classes is CARS else {(1, 2): 3}
    assert analysis.same_make(confusion(counts), classes) is None


def test_attribute_scores_use_only_classes_with_the_attribute():
    frame = answers([(0, 1), (1, 2), (2, 2), (3, 3), (4, 0), (3, 4)])
    rows = {row.pop("attribute"): row for row in analysis.attribute_scores(frame, CARS).to_dict("records")}
    make = pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)  # Audi 1 of 2, BMW predicted twice, Jaguar 1 of 2
    assert rows["make"] == {"values": 3, "classes": 4, "images": 5, "f1": make, "accuracy": 0.6}
    assert rows["type"]["classes"] == 3 and rows["type"]["accuracy"] == pytest.approx(1 / 3)
    assert rows["year"]["values"] == 2 and rows["year"]["accuracy"] == pytest.approx(2 / 5)
    assert analysis.attribute_scores(frame, ["a bicycle"]).empty


def test_detection_curve_matches_scikit_learn(rng):
    clean, attacked = (pd.Series(rng.integers(9, size=60) / 8 + more) for more in (0, 0.25))  # with ties
    found = analysis.detection(clean, attacked, rng)
    called, entropies = np.repeat([0, 1], 60), pd.concat([clean, attacked])
    fpr, tpr, _ = roc_curve(called, entropies, drop_intermediate=False)
    assert (found["fpr"].tolist(), found["tpr"].tolist()) == (fpr.tolist(), tpr.tolist())


def test_detection_auc_is_the_share_of_ordered_pairs(rng):
    clean, attacked = pd.Series(rng.random(60)), pd.Series(rng.random(60) + 0.3)
    found = analysis.detection(clean, attacked, rng)
    pairs = (attacked.to_numpy()[:, None] > clean.to_numpy()).mean()
    assert found["auc"] == pytest.approx(pairs) == pytest.approx(np.trapezoid(found["tpr"], found["fpr"]))
    assert found["interval"][0] < found["auc"] < found["interval"][1]
    assert analysis.detection(clean, clean, rng)["auc"] == pytest.approx(0.5)


def test_heat_maps_are_made_for_typical_images_and_the_worst_errors():
    answers = pd.DataFrame(
        [("a1", "a", "a", 0.9), ("a2", "a", "a", 0.5), ("a3", "a", "a", 0.7)]
        + [(f"b{n}", "b", "a", n / 10) for n in range(6)],
        columns=["name", "actual", "predicted", "confidence"],
    )
    scores = pd.DataFrame({"class": ["a", "b", "c"], "f1": [0.5, 0.0, 0.0], "support": [3, 6, 0]})
    assert looked_at(answers, scores) == ["a3", "b5", "b4", "b3"]


def test_architecture_gap_has_its_sampling_noise():
    scores = {"resnet18-scratch": 0.2, "resnet18-pretrained": 0.7, "resnet34-pretrained": 0.9}
    [gap] = analysis.architecture_gaps(scores, 128).to_dict("records")
    assert (gap["config"], gap["first"], gap["second"]) == ("pretrained", "resnet18", "resnet34")
    assert gap["gap"] == pytest.approx(0.2) and gap["chance"] == pytest.approx(1.96 * 0.05)


def test_corrupted_accuracy_weights_every_image_equally():
    table = pd.DataFrame(
        {"kind": ["blur", "blur", "noise"], "images": [10, 30, 5], "accuracy": [1, 0.5, 0.2]}
    )
    assert analysis.corrupted(table, "kind").to_dict() == pytest.approx({"blur": 0.625, "noise": 0.2})


def test_rank_correlation_matches_values_computed_by_hand():
    one = pd.Series([0.1, 0.1, 0.5, 0.9])  # ranks 1.5, 1.5, 3, 4
    assert analysis.rank_correlation(one, 1 - one) == pytest.approx(-1)
    assert analysis.rank_correlation(one, pd.Series([1, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert analysis.rank_correlation(one, 0 * one) is None
