"""What a model's answers say beyond one score: how far to trust it, how calibrated, what is confused.

Answers are the rows of plots/*/predictions.csv (`evaluation.predictions`). Nothing here needs tensors.
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

    They cover the draw of the test images, not that of the training set or of the seed.
    """
    codes, names = pd.factorize(pd.concat([answers.actual, answers.predicted]))
    actual, predicted = codes.reshape(2, -1)
    hit = np.where(actual == predicted, actual, len(names))  # one class more for what is wrong
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

    Confidence and accuracy are means over the bin's images, NaN where it has none (Guo et al., 2017).
    """
    edges = np.linspace(0, 1, BINS + 1)
    right = answers.actual == answers.predicted
    table = pd.DataFrame({"confidence": answers.confidence, "accuracy": right})
    groups = table.groupby(confidence_bin(answers.confidence))
    means = groups.mean().reindex(range(BINS))
    images = groups.size().reindex(range(BINS), fill_value=0)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "images": images, **means})


def coverage(answers: pd.DataFrame) -> pd.DataFrame:
    """Columns coverage, accuracy: a row per number of accepted answers, highest confidence first.

    coverage is their share of `answers`, accuracy the share of correct ones among them.
    """
    ranked = answers.sort_values("confidence", ascending=False, kind="stable")
    accepted = np.arange(1, len(ranked) + 1)
    right = (ranked.actual == ranked.predicted).cumsum().to_numpy()
    return pd.DataFrame({"coverage": accepted / len(ranked), "accuracy": right / accepted})


def detection(clean: pd.Series, attacked: pd.Series, rng: np.random.Generator) -> dict:
    """How well entropy tells `attacked` images from `clean` ones: both are of the same images in turn.

    fpr and tpr: the ROC curve, an image called attacked from some entropy on; auc: the area under it, which
    is how often an attacked image has more entropy than a clean one; interval: its 95 % percentile bootstrap
    over images, an image drawn together with what was made of it.
    """
    values, ranks = np.unique(np.concatenate([clean, attacked]), return_inverse=True)
    ranks = ranks.reshape(2, len(clean))

    def counts(places: np.ndarray) -> list[np.ndarray]:
        """How many clean images, and how many attacked, have each of `values`."""
        return [np.bincount(rank[places], minlength=len(values)) for rank in ranks]

    def area(places: np.ndarray) -> float:
        of_clean, of_attacked = counts(places)
        below = of_clean.cumsum() - of_clean / 2  # clean images of less entropy; of as much, half
        return float(of_attacked @ below / len(places) ** 2)

    every = np.arange(len(clean))
    fpr, tpr = (np.append(0, of_each[::-1].cumsum()) / len(clean) for of_each in counts(every))
    areas = [area(rng.integers(len(clean), size=len(clean))) for _ in range(RESAMPLES)]
    low, high = np.quantile(areas, (0.025, 0.975)).tolist()
    return {"fpr": fpr, "tpr": tpr, "auc": area(every), "interval": (low, high)}


def differences(scores: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Columns higher, lower, difference, low, high, told: pairs of variants of one architecture, then of one
    configuration.

    `scores` maps variants (ARCH-CONFIG) to a score of each repeat, two or more, in the same order. difference
    is the mean over repeats of one variant's less the other's, the higher first; low and high its 95 %
    interval by Student's t. told: "yes" where that leaves out 0 and Holm's correction (1979) for the number
    of pairs holds as well, "alone" where it does not hold, else "no".
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
    return frame.assign(told=np.select([holm.sort_index() < 0.05, frame.low > 0], ["yes", "alone"], "no"))


def architecture_gaps(scores: Mapping[str, float], images: int) -> pd.DataFrame:
    """Columns config, first, second, gap, chance: pairs of architectures in one configuration.

    `scores` maps variants (ARCH-CONFIG) to a validation score over `images` images. gap is the second
    architecture's score minus the first's; chance as in `chance_gap`.
    """
    rows = []
    for first, second in combinations(scores, 2):
        archs, configs = zip(*(variant.split("-", 1) for variant in (first, second)), strict=True)
        if configs[0] == configs[1]:
            gap, chance = scores[second] - scores[first], chance_gap(scores[first], scores[second], images)
            rows.append((configs[0], *archs, gap, chance))
    return pd.DataFrame(rows, columns=["config", "first", "second", "gap", "chance"])


def chance_gap(first: float, second: float, images: int) -> float:
    """The gap that the draw of the images alone exceeds in one of 20 draws between two equally good models.

    Normal approximation, the scores taken as proportions of `images`.
    """
    mean = (first + second) / 2
    return float(1.96 * np.sqrt(2 * mean * (1 - mean) / images))


def corrupted(table: pd.DataFrame, by: str) -> pd.Series:
    """Accuracy over all rows of `table` (columns images and accuracy) that have the same `by`."""
    right = (table.accuracy * table.images).groupby(table[by], sort=False).sum()
    return right / table.images.groupby(table[by], sort=False).sum()


def rank_correlation(one: pd.Series, other: pd.Series) -> float | None:
    """Spearman's rank correlation; None where one of them has the same value throughout."""
    return float(one.rank().corr(other.rank())) if min(one.nunique(), other.nunique()) > 1 else None


def confused_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """Columns first, second, first_as_second, second_as_first, count: pairs of classes, most confused first.

    `confusion` has the columns actual, predicted and count. Of a pair the class misread oftener is first.
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
    """errors: wrong answers whose actual class has a make; inside: the share of them inside that make.

    chance: the share that answers spread evenly over the other `classes` would have. None without errors, and
    where no make has two classes.
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
    """Columns attribute, values, classes, images, f1, accuracy: how well make, type and year are told.

    `classes` counts the names that have the attribute, `values` what it takes among them. Scores are over
    the images of those classes; an answer without the attribute is wrong. What no class has gets no row.
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
