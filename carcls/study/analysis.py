"""Statistics of a model's predictions: confidence intervals, calibration, differences and confusions.

`answers` are the rows of plots/*/predictions.csv (`scores.predictions`). Nothing here needs tensors.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes ten times as long to import

from carcls.base.scoring import BINS, confidence_bin, mean_f1
from carcls.study import naming

RESAMPLES = 1000
ATTRIBUTES = ("make", "type", "year")


def intervals(answers: pd.DataFrame, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """95 % percentile bootstrap intervals of macro F1 and accuracy over images (Efron, 1979).

    They include the effect of drawing the test images, but not that of the training set or of the seed.
    """
    codes, names = pd.factorize(pd.concat([answers.actual, answers.predicted]))
    actual, predicted = codes.reshape(2, -1)
    hit = np.where(actual == predicted, actual, len(names))  # an extra class for wrong predictions
    scores: dict[str, list[float]] = {"f1": [], "accuracy": []}
    for _ in range(RESAMPLES):
        draw = rng.integers(len(answers), size=len(answers))
        counts = [
            np.bincount(labels[draw], minlength=len(names) + 1)[:-1] for labels in (actual, predicted, hit)
        ]
        scores["f1"].append(float(mean_f1(*counts)))
        scores["accuracy"].append(counts[-1].sum() / len(answers))
    return {name: tuple(np.quantile(values, (0.025, 0.975)).tolist()) for name, values in scores.items()}


def calibration(answers: pd.DataFrame) -> pd.DataFrame:
    """Columns low, high, images, confidence, accuracy: a row for each of BINS equal bins of confidence.

    Confidence and accuracy are means over the images of the bin, NaN if it has none (Guo et al., 2017).
    """
    edges = np.linspace(0, 1, BINS + 1)
    right = answers.actual == answers.predicted
    table = pd.DataFrame({"confidence": answers.confidence, "accuracy": right})
    groups = table.groupby(confidence_bin(answers.confidence))
    means = groups.mean().reindex(range(BINS))
    images = groups.size().reindex(range(BINS), fill_value=0)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "images": images, **means})


def coverage(answers: pd.DataFrame) -> pd.DataFrame:
    """Columns coverage, accuracy: one row per number of accepted predictions, highest confidence first.

    coverage is the share of accepted predictions, accuracy the share of correct ones among them.
    """
    ranked = answers.sort_values("confidence", ascending=False, kind="stable")
    accepted = np.arange(1, len(ranked) + 1)
    right = (ranked.actual == ranked.predicted).cumsum().to_numpy()
    return pd.DataFrame({"coverage": accepted / len(ranked), "accuracy": right / accepted})


def detection(clean: pd.Series, attacked: pd.Series, rng: np.random.Generator) -> dict:
    """How well entropy separates `attacked` from `clean` images. Both are entropies of the same images.

    fpr and tpr: the ROC curve for thresholds of the entropy. auc: the area under it, which is the probability
    that an attacked image has a higher entropy than a clean one. interval: the 95 % percentile bootstrap
    interval of auc over images; an image is drawn together with its attacked version.
    """
    values, ranks = np.unique(np.concatenate([clean, attacked]), return_inverse=True)
    ranks = ranks.reshape(2, len(clean))

    def counts(places: np.ndarray) -> list[np.ndarray]:
        """The numbers of clean and of attacked images that have each of `values`."""
        return [np.bincount(rank[places], minlength=len(values)) for rank in ranks]

    def area(places: np.ndarray) -> float:
        of_clean, of_attacked = counts(places)
        below = of_clean.cumsum() - of_clean / 2  # clean images with a lower entropy; ties count half
        return float(of_attacked @ below / len(places) ** 2)

    every = np.arange(len(clean))
    fpr, tpr = (np.append(0, of_each[::-1].cumsum()) / len(clean) for of_each in counts(every))
    areas = [area(rng.integers(len(clean), size=len(clean))) for _ in range(RESAMPLES)]
    low, high = np.quantile(areas, (0.025, 0.975)).tolist()
    return {"fpr": fpr, "tpr": tpr, "auc": area(every), "interval": (low, high)}


def differences(scores: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Columns higher, lower, difference, low, high, significant: a row for each pair of variants.

    Pairs with the same architecture come first, then pairs with the same configuration. `scores` maps
    variants (ARCH-CONFIG) to the scores of two or more repeats, in the same order. difference is the mean
    over repeats of the score of `higher` minus that of `lower`. low and high are its 95 % interval (Student's
    t). significant is "yes" if the difference is significant after Holm's correction (1979) for the number
    of pairs, "uncorrected" if only the interval excludes 0, else "no".
    """
    pairs = [
        pair
        for side in (0, 2)  # of str.partition: the architecture, the configuration
        for pair in combinations(scores, 2)
        if pair[0].partition("-")[side] == pair[1].partition("-")[side]
    ]
    rows = []
    for pair in pairs:
        higher, lower = sorted(pair, key=lambda variant: -np.mean(scores[variant]))
        gaps = np.subtract(scores[higher], scores[lower])
        mean, error, freedom = gaps.mean(), gaps.std(ddof=1) / np.sqrt(len(gaps)), len(gaps) - 1
        reach = stdtrit(freedom, 0.975) * error
        p = 2 * stdtr(freedom, -mean / error) if error else float(mean == 0)
        rows.append((higher, lower, mean, mean - reach, mean + reach, p))
    frame = pd.DataFrame(rows, columns=["higher", "lower", "difference", "low", "high", "p"])
    p = frame.pop("p")
    holm = (p.sort_values() * np.arange(len(p), 0, -1)).cummax()
    significant = np.select([holm.sort_index() < 0.05, frame.low > 0], ["yes", "uncorrected"], "no")
    return frame.assign(significant=significant)


def architecture_gaps(scores: Mapping[str, float], images: int) -> pd.DataFrame:
    """Columns config, first, second, gap, chance: pairs of architectures in one configuration.

    `scores` maps variants (ARCH-CONFIG) to a validation score over `images` images. gap is the score of the
    second architecture minus that of the first. chance is the result of `chance_gap`.
    """
    rows = []
    for first, second in combinations(scores, 2):
        archs, configs = zip(*(variant.split("-", 1) for variant in (first, second)), strict=True)
        if configs[0] == configs[1]:
            gap, chance = scores[second] - scores[first], chance_gap(scores[first], scores[second], images)
            rows.append((configs[0], *archs, gap, chance))
    return pd.DataFrame(rows, columns=["config", "first", "second", "gap", "chance"])


def chance_gap(first: float, second: float, images: int) -> float:
    """Sampling noise: the gap that two equally good models exceed in one of 20 draws of the images.

    Uses the normal approximation, with the scores as proportions of `images`.
    """
    mean = (first + second) / 2
    return float(1.96 * np.sqrt(2 * mean * (1 - mean) / images))


def corrupted(table: pd.DataFrame, by: str) -> pd.Series:
    """Accuracy over all rows of `table` (columns images and accuracy) with the same value of `by`."""
    right = (table.accuracy * table.images).groupby(table[by], sort=False).sum()
    return right / table.images.groupby(table[by], sort=False).sum()


def rank_correlation(one: pd.Series, other: pd.Series) -> float | None:
    """Spearman's rank correlation, or None if all values of one series are equal."""
    return float(one.rank().corr(other.rank())) if min(one.nunique(), other.nunique()) > 1 else None


def confused_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """Columns first, second, first_as_second, second_as_first, count: pairs of classes, most confused first.

    `confusion` has the columns actual, predicted and count. The more often misclassified class is first.
    """
    wrong = confusion[confusion.actual != confusion.predicted]
    counts = wrong.set_index(["actual", "predicted"])["count"].to_dict()
    pairs = sorted({tuple(sorted(pair)) for pair in counts})
    rows = []
    for one, other in pairs:
        there, back = counts.get((one, other), 0), counts.get((other, one), 0)
        row = (one, other, there, back) if there >= back else (other, one, back, there)
        rows.append((*row, there + back))
    frame = pd.DataFrame(rows, columns=["first", "second", "first_as_second", "second_as_first", "count"])
    return frame.sort_values(["count", "first_as_second"], ascending=False, kind="stable", ignore_index=True)


def same_make(confusion: pd.DataFrame, classes: Collection[str]) -> dict[str, float | int] | None:
    """errors: number of errors whose actual class has a make. inside: the share of them within that make.

    chance: the share if errors were spread evenly over the other `classes`. None if there are no errors, or
    if no make has two classes.
    """
    makes = {name: car.make for name in classes if (car := naming.parse(name))}
    sizes = pd.Series(makes).value_counts()
    wrong = confusion[(confusion.actual != confusion.predicted) & confusion.actual.isin(list(makes))]
    errors = int(wrong["count"].sum())
    if not errors or sizes.max() < 2:
        return None
    make = wrong.actual.map(makes)
    inside = wrong["count"][make == wrong.predicted.map(makes)].sum()
    others = make.map(sizes) - 1
    chance = (wrong["count"] * others).sum() / (len(classes) - 1)
    return {"errors": errors, "inside": float(inside / errors), "chance": float(chance / errors)}


def attribute_scores(answers: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Columns attribute, values, classes, images, f1, accuracy: scores for make, type and year.

    The column classes is the number of class names that contain the attribute, values the number of its
    values. Scores use the images of these classes. A predicted class without the attribute is an error. An
    attribute that no class has is omitted.
    """
    rows = []
    for attribute in ATTRIBUTES:
        parsed = {name: getattr(car, attribute) for name in classes if (car := naming.parse(name))}
        known = {name: value for name, value in parsed.items() if value is not None}
        scored = answers[answers.actual.isin(list(known))]
        if scored.empty:
            continue
        values = sorted(set(known.values()))
        actual, predicted = (
            pd.Categorical(column.map(known), values).codes for column in (scored.actual, scored.predicted)
        )
        right = actual == predicted
        counts = (actual, predicted[predicted >= 0], actual[right])
        f1 = mean_f1(*(np.bincount(labels, minlength=len(values)) for labels in counts))
        rows.append((attribute, len(values), len(known), len(scored), float(f1), float(right.mean())))
    return pd.DataFrame(rows, columns=["attribute", "values", "classes", "images", "f1", "accuracy"])
