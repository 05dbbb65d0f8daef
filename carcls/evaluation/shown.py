"""The test images that the report shows, selected by their predictions.

`answers` are rows of plots/test/predictions.csv (see `scores.predictions`), `scores` rows of per_class.csv.
"""

from collections.abc import Sequence

import pandas as pd

SHOWN = 24  # classes with an image in the report
WORST = 6  # classes shown for their low F1
MISREAD = 3  # misclassified images shown for each of these classes


def spread(classes: Sequence[str]) -> list[str]:
    """At most SHOWN of `classes`, evenly spaced."""
    shown = min(SHOWN, len(classes))
    return [classes[place * len(classes) // shown] for place in range(shown)]


def worst(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of per_class.csv with the lowest F1: WORST classes that have images."""
    return scores[scores["support"] > 0].sort_values(["f1", "class"]).head(WORST)


def misread(answers: pd.DataFrame, class_name: str) -> pd.DataFrame:
    """The most confident wrong predictions on images of a class, at most MISREAD."""
    wrong = answers[(answers.actual == class_name) & (answers.actual != answers.predicted)]
    return wrong.sort_values(["confidence", "name"], ascending=[False, True]).head(MISREAD)


def typical(answers: pd.DataFrame) -> pd.DataFrame:
    """For at most SHOWN classes, the correctly classified image of median confidence."""
    right = answers[answers.actual == answers.predicted].sort_values(["confidence", "name"])
    groups = dict(iter(right.groupby("actual")))
    rows = [groups[name].iloc[len(groups[name]) // 2] for name in spread(sorted(groups))] if groups else []
    return pd.DataFrame(rows, columns=answers.columns)


def looked_at(answers: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Names of the images whose heat map is shown: `typical`, and `misread` of the `worst` classes."""
    names = [*typical(answers)["name"]]
    for class_name in worst(scores)["class"]:
        names += misread(answers, class_name)["name"].to_list()
    return names
